// @ts-check
// A file of one's own: chosen or dropped, sent with its progress, opened by the server.
import { button, make } from "../shared/dom.js";
import { hub, mayOpen, openFile } from "../shared/hub.js";
import { post } from "../shared/post.js";
import { makeQuestion } from "../shared/dialog.js";
import { refusal } from "../hub_model/drop.js";

/** @typedef {{ clip: number, project: number }} Limits megabytes that files may have */

// What browsers may not know as a video is named; the server looks at the content.
const ACCEPTED =
  "video/*,.gif,.avif,.zip," + ".mkv,.avi,.mpg,.mpeg,.ts,.mts,.m2ts,.wmv,.asf,.3gp,.flv,.ogv,.dv,.mxf";

/**
 * Say that a file is too large; "" for one that is not.
 * @param {File} file
 * @param {Limits} limits
 */
const tooLarge = ({ name, size }, { clip, project }) => {
  if (hub.anySize) return "";
  const most = /\.zip$/i.test(name) ? project : clip;
  if (size <= most * 1e6) return "";
  return `${Math.ceil(size / 1e6)} MB is too large (limit ${most} MB). Cut it shorter, or export at 720p.`;
};

/**
 * Make the line below the header.
 * @param {() => void} onclick cancels what is sent
 */
const makeLine = (onclick) => {
  const goOn = button("rg-tool rg-small", "Go on");
  const text = make("p", { role: "status" });
  const bar = make("i", { ariaHidden: true });
  const cancel = button("rg-tool rg-small", "Cancel", onclick);
  const node = make("div", "rg-upload", text, bar, cancel, goOn);
  /** @param {"idle" | "sending" | "opening" | "failed" | "offer"} state @param {string} words */
  const show = (state, words, share = 0) => {
    node.dataset.state = state;
    text.textContent = words;
    bar.style.setProperty("--share", String(share));
    bar.hidden = !["sending", "opening"].includes(state);
    cancel.hidden = state !== "sending";
    goOn.hidden = state !== "offer";
  };
  show("idle", "");
  hub.on("offer", (offer) => {
    goOn.onclick = offer.goOn;
    show("offer", `Go on with ${offer.title}?`);
  });
  return { node, show };
};

/**
 * Ask before a clip of one's own is replaced.
 * @param {ReturnType<typeof makeQuestion>} question
 * @param {string} name
 */
const mayReplace = async (question, name) => {
  const { clip } = hub;
  if (!clip?.own || hub.kept) return true;
  const loss = "Its masks and words will be lost; Save keeps them in a file.";
  return question.ask(`Open “${name}” in place of “${clip.title}”? ${loss}`);
};

const END_OF_ZIP = 65536; // bytes, in which the names of what it holds stand

/** @param {File} file */
const isProject = async (file) => {
  const end = await file.slice(-END_OF_ZIP).text();
  return end.includes("project.json");
};

/** @param {FileList} files */
const areMasks = async (files) => {
  if (!hub.clip || files[0].name === "project.json") return false;
  if ([...files].every(({ name }) => /\.(png|json)$/i.test(name))) return true;
  return files.length === 1 && /\.zip$/i.test(files[0].name) && !(await isProject(files[0]));
};

/**
 * Take files that are dropped anywhere on the page.
 * @param {HTMLElement} root
 * @param {(file: File, ...others: File[]) => void} take
 */
const addDropping = (root, take) => {
  let over = 0; // elements that are dragged over, one within the other
  /** @param {DragEvent} event */
  const fits = ({ dataTransfer }) => root.isConnected && dataTransfer?.types.includes("Files");
  /** @param {number} count */
  const setOver = (count) => {
    over = count;
    document.body.classList.toggle("rg-dropping", over > 0);
  };
  document.addEventListener("dragenter", (event) => {
    if (fits(event)) setOver(over + 1);
  });
  document.addEventListener("dragleave", (event) => {
    if (fits(event)) setOver(Math.max(0, over - 1));
  });
  document.addEventListener("dragover", (event) => {
    if (fits(event)) event.preventDefault();
  });
  document.addEventListener("drop", async (event) => {
    if (!fits(event)) return;
    setOver(0);
    if (event.defaultPrevented) return; // a card has taken it
    event.preventDefault();
    const files = event.dataTransfer?.files;
    if (!files?.length) return;
    const isWeights = /\.(safetensors|gguf)$/i.test(files[0].name);
    if (isWeights && hub.takesWeights) hub.tell("weights", files);
    else if (isWeights) openFile(files, "adapter-file");
    else if (await areMasks(files)) openFile(files, "mask-file");
    else take(files[0], ...[...files].slice(1));
  });
};

/**
 * Make the field for files and the line below the row, and say what happens to a file.
 * @param {(file: { path: string, name: string }) => void} open tells the server of it
 * @param {Limits} limits
 */
export const makeUpload = (open, limits) => {
  const field = make("input", { type: "file", id: "upload", accept: ACCEPTED, hidden: true });
  const line = makeLine(() => request?.abort());
  const question = makeQuestion("Replace the clip?", "Open the new one", "Keep this one");
  /** @type {XMLHttpRequest | null} */
  let request = null;
  let left = ""; // names of files that were left out
  /** @param {string} words */
  const failed = (words) => {
    hub.opening = "";
    line.show(words ? "failed" : "idle", words);
  };
  /** @param {File} file */
  const send = (file) => {
    const size = tooLarge(file, limits);
    if (size) {
      failed(`“${file.name}” cannot be opened. ${size}`);
      return;
    }
    request?.abort();
    line.show("sending", `Uploading “${file.name}”`);
    request = post(file, {
      share: (share) => {
        const percent = Math.round(100 * share);
        line.show("sending", `Uploading “${file.name}”: ${percent} %`, share);
      },
      sent: (path) => {
        if (!mayOpen(`Opening “${file.name}”`)) return;
        open({ path, name: file.name });
      },
      failed,
    });
  };
  /** @param {File} file @param {...File} others */
  const take = async (file, ...others) => {
    if (refusal(file)) {
      failed(refusal(file));
      return;
    }
    if (!(await mayReplace(question, file.name))) return;
    left = others.map(({ name }) => `“${name}”`).join(", ");
    send(file);
  };
  field.onchange = () => {
    if (field.files?.length) take(field.files[0]);
    field.value = "";
  };
  addDropping(line.node, take);
  const rest = () => {
    hub.opening = "";
    line.show("idle", left ? `${left} was left out: the page edits one clip at a time.` : "");
    left = "";
  };
  hub.on("clip", rest);
  hub.on("lost", rest);
  hub.on("opening", (words) => line.show("opening", words, 1));
  for (const name of /** @type {const} */ (["opened", "unopened", "noted"]))
    hub.on(name, () => hub.opening && rest());
  return { nodes: [field, line.node], choose: () => field.click(), failed };
};
