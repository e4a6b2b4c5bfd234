// @ts-check
// Components begin in the order in which Gradio has made them, although their modules come in any order: those
// that come later hear what the ones before them told.

/** @type {Promise<void>} */
let mounted = Promise.resolve();

/**
 * Import a component's module and have it draw into its element.
 * @param {string} module name of the file, such as "canvas.js"
 * @param {Parameters<import("../types").Mount<any>>} given
 */
export const mount = (module, ...given) => {
  const begin = async () => {
    const [component] = await Promise.all([import(`../${module}`), mounted]);
    component.mount(...given);
  };
  mounted = begin().catch((error) => console.error(`Error executing js_on_load of ${module}:`, error));
};
