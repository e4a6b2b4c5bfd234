// Values and files from Python.

export const apiUrl = (path) => {
  const config = window.gradio_config || {};
  return (config.root || "") + (config.api_prefix || "/gradio_api") + path;
};

export const fileUrl = (path) => apiUrl("/file=" + path.split("/").map(encodeURIComponent).join("/"));

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
