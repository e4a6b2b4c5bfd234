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

/**
 * The same for a component that does nothing without a value, once it has one.
 * @param {string} module
 * @param {Parameters<import("../types").Mount<any>>} given
 */
export const mountWithValue = (module, ...given) => {
  const [, props, , watch] = given;
  let begun = false;
  const begin = () => {
    if (begun || !props.value) return;
    begun = true;
    mount(module, ...given);
  };
  begin();
  watch("value", begin);
};
