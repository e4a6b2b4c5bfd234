// Masks of the open clip, in from files and out to files.
import { button, iconButton, make } from "../shared/dom.js";
import { hub, openFile } from "../shared/hub.js";

const FORMS = {
  png: ["PNG files", "One indexed picture per frame, as a zip file. Exact."],
  coco: ["COCO JSON", "Run lengths, for annotation tools. Exact."],
  mkv: ["Mask video, exact", "Each region in its colour; lossless (.mkv)."],
  mp4: ["Mask video, small", "For viewing anywhere (.mp4); edges are slightly lossy."],
  pair: ["VACE pair", "The clip with the regions to edit in grey, and a black and white mask video."],
};
const IMPORT =
  "PNG files (one per frame, or a zip), COCO JSON, or a mask video of this clip. Each mask becomes a region.";

const makeRow = (title, text, act) => {
  const row = button("rg-mask-file", "", act);
  row.append(make("strong", "", title), make("span", "", text));
  return row;
};

const makeMaskDialog = (save) => {
  const dialog = make("dialog", "rg-help rg-mask-files"),
    title = make("h2", "", "Mask files"),
    out = make("div", "rg-mask-forms");
  const then = (act) => () => {
    dialog.close();
    act();
  };
  title.id = "rg-mask-files-title";
  dialog.setAttribute("aria-labelledby", title.id);
  for (const [form, [name, text]] of Object.entries(FORMS)) {
    const row = makeRow(
      name,
      text,
      then(() => save(form)),
    );
    row.dataset.form = form;
    out.append(row);
  }
  const take = makeRow(
    "Choose files",
    IMPORT,
    then(() => openFile(null, "mask-file")),
  );
  take.dataset.form = "import";
  dialog.append(title, make("h3", "", "Import"), take, make("h3", "", "Export"), out);
  dialog.append(button("rg-tool", "Close", () => dialog.close()));
  return { dialog, out };
};

export const makeMaskFiles = (editor, trigger) => {
  const save = (form) => {
    editor.say("Writing the masks.");
    trigger("export", { form, id: editor.id, have: editor.rev });
  };
  const { dialog, out } = makeMaskDialog(save);
  const show = () => {
    const some = hub.regions.some(({ label }) => /[^ e-]/.test(editor.lanes[label] ?? ""));
    for (const row of out.children) row.disabled = !some;
    dialog.showModal();
  };
  const hint = "Import masks of this clip from files, or export them (M)";
  const node = iconButton("rg-tool rg-small", "files", hint, show, "Files");
  node.dataset.act = "files";
  editor.showFiles = show;
  return { node, dialog };
};
