// Values and files from Python.

export const fileUrl = (path) => {
  const config = window.gradio_config || {};
  const root = (config.root || "") + (config.api_prefix || "/gradio_api");
  return root + "/file=" + path.split("/").map(encodeURIComponent).join("/");
};

// Draw now and whenever Python sends another value.
export const follow = (props, watch, draw) => {
  let shown;
  const update = () => {
    const text = JSON.stringify(props.value ?? null);
    if (text === shown) return;
    shown = text;
    draw(props.value);
  };
  update();
  watch("value", update);
};
