// @ts-check
import { badge, heatLegend } from "./shared/color.js";
import { fillWith, make } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

// Pictures of some frames in a row; `numbers` are those of the frames, null for none shown.
const fillStrip = (row, pictures, numbers) => {
  const create = () => make("figure", {}, make("img"), make("figcaption"));
  fillWith(row, pictures, create, ({ children: [image, caption] }, picture, i) => {
    image.src = picture;
    image.alt = numbers ? "frame " + numbers[i] : "";
    caption.textContent = numbers ? numbers[i] : "";
  });
};

// Frames and attention while the run goes on.
/** @type {import("./types").Mount<"live">} */
export function mount(element, props, trigger, watch) {
  follow(props, watch, (value) => {
    hub.live = value;
    if (!value) return element.replaceChildren();
    const count = value.heat.length + 1;
    let root = element.querySelector(".rg-live");
    if (root?.dataset.rows !== String(count)) {
      root = make("div", { className: "rg-live", data: { rows: count } });
      for (let i = 0; i < count; i++) root.append(make("div", "rg-row-name"), make("div", "rg-strip"));
      element.replaceChildren(root);
    }
    const rows = root.querySelectorAll(".rg-strip"),
      names = root.querySelectorAll(".rg-row-name");
    root.style.setProperty("--count", value.frames.length);
    names[0].replaceChildren(make("span", {}, "Live preview"));
    fillStrip(rows[0], value.frames, value.indices);
    value.heat.forEach(({ label, color, caption, frames }, i) => {
      names[i + 1].replaceChildren(badge(label, color), make("span", {}, caption), heatLegend(color));
      fillStrip(rows[i + 1], frames, null);
    });
  });
}
