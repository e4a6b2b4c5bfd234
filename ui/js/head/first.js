// @ts-check
// Runs before Gradio's own scripts.
import { addHeader, stopSpinner } from "./gradio_insides.js";
import { claimName } from "./page_name.js";
import { addStyle } from "./style.js";

addStyle();
stopSpinner();
// Where the browser allows no storage, a page is known by its connection alone.
try {
  sessionStorage.length; // an error, if it does not
  addHeader("x-regrain-page", claimName());
} catch {
  console.info("This page cannot be restored after a reload: the browser allows no storage.");
}
