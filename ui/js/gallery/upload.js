// @ts-check
// A file of one's own: chosen or dropped, sent with its progress, opened by the server.
import { button, make } from "../shared/dom.js";
import { hub, openFile } from "../shared/hub.js";
import { post } from "../shared/post.js";
import { makeQuestion } from "../shared/dialog.js";

const CLIP_MB = 100,
  PROJECT_MB = 400;
const CONSENT =
  "Open only clips you may edit, and none of real people without their consent. " +
  "Your files are removed when you close the page.";
const ACCEPTED = ".mp4,.mov,.m4v,.webm,.mkv,.avi,.gif,.mpg,.mpeg,.ts,.zip";

const tooLarge = ({ name, size }) => {
  const most = /\.zip$/i.test(name) ? PROJECT_MB : CLIP_MB;
  return size > most * 1e6 ? `It has ${Math.ceil(size / 1e6)} MB, but at most ${most} MB are allowed.` : "";
};

const makeLine = (onclick) => {
  const goOn = button("rg-tool rg-small", "Go on");
  const text = make("p", { role: "status" }),
    bar = make("i", { ariaHidden: true }),
    cancel = button("rg-tool rg-small", "Cancel", onclick),
    node = make("div", "rg-upload", text, bar, cancel, goOn);
  const show = (state, words, share = 0) => {
    node.dataset.state = state;
    text.textContent = words;
    bar.style.setProperty("--share", share);
    bar.hidden = !["sending", "opening"].includes(state);
    cancel.hidden = state !== "sending";
    goOn.hidden = state !== "offer";
  };
  show("idle", CONSENT);
  hub.on("offer", (offer) => {
    goOn.onclick = offer.goOn;
    show("offer", `Go on with ${offer.title}?`);
  });
  return { node, show };
};

const mayReplace = async (question, name) => {
  const { clip } = hub,
    loss = "Its masks and words will be lost; Save keeps them in a file.";
  return !clip?.own || question.ask(`Open “${name}” in place of “${clip.title}”? ${loss}`);
};

// Whether a zip file holds a project: the names of what it holds stand at its end.
const isProject = async (file) => (await file.slice(-65536).text()).includes("project.json");

const areMasks = async (files) => {
  if (!hub.clip) return false;
  if ([...files].every(({ name }) => /\.(png|json)$/i.test(name))) return true;
  return files.length === 1 && /\.zip$/i.test(files[0].name) && !(await isProject(files[0]));
};

const addDropping = (root, take) => {
  let over = 0;
  const show = (on) => document.body.classList.toggle("rg-dropping", on);
  const fits = ({ dataTransfer }) => root.isConnected && dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => fits(event) && show((over += 1) > 0));
  document.addEventListener("dragleave", (event) => fits(event) && show((over = Math.max(0, over - 1)) > 0));
  document.addEventListener("dragover", (event) => fits(event) && event.preventDefault());
  document.addEventListener("drop", async (event) => {
    if (!fits(event)) return;
    show(Boolean((over = 0)));
    if (event.defaultPrevented) return; // a card has taken it
    event.preventDefault();
    const { files } = event.dataTransfer;
    if (!files.length) return;
    if (/\.safetensors$/i.test(files[0].name)) openFile(files, "adapter-file");
    else if (await areMasks(files)) openFile(files, "mask-file");
    else take(...files);
  });
};

// The field for files, the line below the row, and what happens to a file; `open` tells the server of it.
export const makeUpload = (open) => {
  const field = make("input", { type: "file", id: "upload", accept: ACCEPTED, hidden: true }),
    line = makeLine(() => request?.abort()),
    question = makeQuestion("Replace the clip?", "Open the new one", "Keep this one");
  let request = null,
    left = "";
  const failed = (words) => line.show(words ? "failed" : "idle", words || CONSENT);
  const send = (file) => {
    const size = tooLarge(file);
    if (size) return failed(`“${file.name}” cannot be opened. ${size}`);
    request?.abort();
    line.show("sending", `Uploading “${file.name}”`);
    request = post(file, {
      share: (share) => line.show("sending", `Uploading “${file.name}”: ${Math.round(100 * share)} %`, share),
      sent: (path) => {
        line.show("opening", `Opening “${file.name}”`, 1);
        open({ path, name: file.name });
      },
      failed,
    });
  };
  const take = async (file, ...others) => {
    if (!(await mayReplace(question, file.name))) return;
    left = others.map(({ name }) => `“${name}”`).join(", ");
    send(file);
  };
  field.onchange = () => {
    if (field.files.length) take(field.files[0]);
    field.value = "";
  };
  addDropping(line.node, take);
  for (const event of ["clip", "lost"])
    hub.on(event, () => {
      line.show("idle", left ? `${left} was left out: the page edits one clip at a time.` : CONSENT);
      left = "";
    });
  return { nodes: [field, line.node, question.node], choose: () => field.click(), failed };
};
