// Text fields of gradio's that a script writes into.

// The field of a parameter beside which a script stands; each method has fields of its own.
export const fieldBeside = (element, name) =>
  element.closest(".rg-more")?.querySelector(`.rg-param-${CSS.escape(name)} :is(textarea, input)`) ?? null;

export const writeInto = (field, text) => {
  if (!field || field.value === text) return;
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
};
