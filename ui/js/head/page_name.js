// @ts-check
// The name of this tab, by which the server knows its work again after a reload or a lost connection.

const KEPT = "regrain-page";
// Milliseconds to wait until nobody else holds a name. A tab that is reloaded still holds its own for a moment, a
// duplicated one for good.
const PATIENCE = 700;
const PATIENCE_OF_RELOAD = 4000;

const patience = () => {
  const [entry] = performance.getEntriesByType("navigation");
  const { type } = /** @type {PerformanceNavigationTiming} */ (entry ?? {});
  return type === "reload" || type === "back_forward" ? PATIENCE_OF_RELOAD : PATIENCE;
};

const makeName = () => {
  const bytes = crypto.getRandomValues(new Uint8Array(24));
  const letters = btoa(String.fromCharCode(...bytes));
  return letters.replaceAll("+", "-").replaceAll("/", "_");
};

/** @param {string} name */
const lockOf = (name) => "regrain-" + name;

/**
 * Tell whether a page that has a name is open in this browser.
 * @param {string} name
 */
export const isOpen = async (name) => {
  const locks = await navigator.locks?.query();
  return Boolean(locks?.held?.some((lock) => lock.name === lockOf(name)));
};

/**
 * Hold a name for as long as this page lives; resolve to whether nobody else does.
 * @param {string} name
 * @returns {Promise<boolean>}
 */
const hold = (name) =>
  new Promise((resolve) => {
    const keep = () => {
      resolve(true);
      return new Promise(() => {});
    };
    const signal = AbortSignal.timeout(patience());
    navigator.locks.request(lockOf(name), { signal }, keep).catch(() => resolve(false));
  });

// The name that the browser keeps for this tab; an error where it allows no storage.
export const keptName = () => sessionStorage.getItem(KEPT);

/** @param {string} name */
export const keepName = (name) => sessionStorage.setItem(KEPT, name);

// A duplicated tab begins with the same storage: only one of the two keeps the name.
export const claimName = async () => {
  let name = keptName() ?? makeName();
  if (navigator.locks && !(await hold(name))) {
    name = makeName();
    await hold(name);
  }
  keepName(name);
  return name;
};
