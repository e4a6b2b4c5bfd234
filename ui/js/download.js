import { make } from "./shared/dom.js";
import { fileUrl, follow } from "./shared/server.js";

// What was saved, a project or a tuned model, goes to the browser's downloads.
export function mount(element, props, trigger, watch) {
  follow(props, watch, (value) => {
    if (!value) return;
    const link = make("a");
    link.href = fileUrl(value.path);
    link.download = value.name;
    link.click();
  });
}
