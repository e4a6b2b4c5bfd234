// @ts-check
// The place where a checkpoint is dropped, or chosen: it is sent into the folder of models of one's own machine.
import { button, make } from "../shared/dom.js";
import { put } from "../shared/post.js";

/**
 * Say why weights are not taken; "" of those that may be.
 * @param {File} file
 */
export const refusal = ({ name }) => {
  if (/\.gguf$/i.test(name))
    return `“${name}” is a GGUF, which is read of Wan alone. Put its transformer beside text_encoder/ in a folder of Wan among the models.`;
  return /\.(pth?|ckpt|bin)$/i.test(name)
    ? `“${name}” may run code. Drop the same weights as .safetensors.`
    : "";
};

/**
 * @param {object} tell
 * @param {(words: string, isWrong: boolean) => void} tell.say
 * @param {(share: number | null) => void} tell.setGoing
 * @param {(id: string) => void} tell.use is told the name of a model that is there
 */
export const makeDrop = ({ say, setGoing, use }) => {
  let address = "";
  /** @type {XMLHttpRequest | null} */
  let sending = null;
  /** @param {string} words */
  const end = (words) => {
    sending = null;
    node.inert = false;
    setGoing(null);
    say(words, Boolean(words));
  };
  /** @param {File} file */
  const send = (file) => {
    if (refusal(file)) {
      say(refusal(file), true);
      return;
    }
    /** @param {number} part */
    const share = (part) => {
      setGoing(part);
      say(part < 1 ? `“${file.name}”: ${Math.round(100 * part)} %` : `Checking “${file.name}”`, false);
    };
    /** @param {string} id */
    const sent = (id) => {
      end("");
      use(id);
    };
    node.inert = true;
    share(0);
    sending = put(file, address, { share, sent, failed: end });
  };
  /** @param {FileList | null | undefined} files */
  const take = (files) => {
    if (files?.length && !sending) send(files[0]);
  };
  const field = make("input", { type: "file", accept: ".safetensors", hidden: true });
  field.onchange = () => {
    take(field.files);
    field.value = "";
  };
  const choose = button("rg-tool", "Choose a file", () => field.click());
  const node = make(
    "div",
    "rg-model-drop",
    make("span", {}, "Drop a model or a LoRA here, as .safetensors"),
    choose,
    field,
  );
  /** @param {boolean} on */
  const setOver = (on) => node.classList.toggle("rg-is-over", on);
  node.addEventListener("dragover", () => setOver(true));
  node.addEventListener("dragleave", () => setOver(false));
  node.addEventListener("drop", (event) => {
    event.preventDefault(); // or the page would take it for something else
    setOver(false);
    take(event.dataTransfer?.files);
  });
  return {
    node,
    take,
    choose: () => field.click(),
    /** @param {string} place where files are sent; "" where none are taken */
    offer: (place) => {
      address = place;
      node.hidden = !place;
    },
    goesOn: () => Boolean(sending),
    /** Give up what is being sent; returns whether something was. */
    stop: () => {
      if (!sending) return false;
      sending.abort();
      return true;
    },
  };
};
