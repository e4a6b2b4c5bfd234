import { make } from "./shared/dom.js";
import { hub } from "./shared/hub.js";
import { fileUrl, follow } from "./shared/server.js";

// What was saved or made goes to the browser's downloads.
export function mount(element, props, trigger, watch) {
  follow(props, watch, (value) => {
    if (!value) return;
    hub.tell("made", value);
    if (!value.path) return;
    const link = make("a");
    link.href = fileUrl(value.path);
    link.download = value.name;
    link.click();
  });
}
