// What files of steps say of the page in JavaScript; see page_steps.py.
const $ = (one) => document.querySelector(one);
const $$ = (all) => [...document.querySelectorAll(all)];
const e = $(".rg-editor")?.editor;
const box = (one) => (one.localName ? one : $(one)).getBoundingClientRect();
const text = (one) => $(one)?.innerText ?? "";
const near = (a, b, off) => [a].flat().every((n, i) => Math.abs(n - [b].flat()[i]) <= off);
const mask = (label, frame = 0) => e.masks[frame]?.[label];
const points = (label, frame = 0) => mask(label, frame)?.points.length ?? 0;
const area = (label, frame = 0) =>
  (mask(label, frame)?.runs ?? "").split(" ").reduce((sum, n, i) => sum + (i % 2 ? Number(n) : 0), 0);
const areas = (label) => e.masks.map((_, frame) => area(label, frame));
const quiet = () => !e.pending.length;
const pixel = (one, x, y) => {
  const c = one.localName ? one : $(one);
  return [...c.getContext("2d").getImageData(x * c.width, y * c.height, 1, 1).data];
};
const clip = (x, y) => pixel(".rg-canvas-stage canvas", x / e.clip.width, y / e.clip.height);
const words = (one) => text(one).split(/\s+/).filter(Boolean).join(" ");
const picture = () => box(document.body.dataset.stage === "edit" ? ".rg-stage" : ".rg-canvas-stage canvas");
const attribute = (one, name) => $(one)?.getAttribute(name);
const controls = () => {
  const kinds = "button, a[href], input, select, textarea, summary, [role=slider]";
  const seen = (node) => {
    const { width, height, top, bottom, left, right } = box(node);
    return (
      width &&
      height &&
      bottom > 0 &&
      top < innerHeight &&
      right > 0 &&
      left < innerWidth &&
      node.checkVisibility({ visibilityProperty: true })
    );
  };
  return $$(kinds).filter((node) => seen(node) && !node.matches(".rg-wipe")).length;
};
const marks = (all) => $$(all).map((one) => Number(one.dataset.frame));
const texts = (all) => $$(all).map((one) => one.innerText);
const heat = (n, x, y) =>
  pixel($$(".rg-inspector canvas")[n], x / 256, y / 256)
    .slice(0, 3)
    .reduce((sum, one) => sum + one);
const titles = () => $$(".rg-run-picture").map((n) => n.ariaLabel.replace("Show ", "").split(":")[0]);
const trim = (name) => $(`.rg-trim [role=slider][aria-label="${name}"]`);
const inStep = (count) => {
  const times = $$("video").map((one) => one.currentTime);
  const apart = times.map((one) => Math.abs(one - times[0])).map((one) => Math.min(one, Math.abs(1 - one)));
  return times.length === count && Math.max(...apart) < 0.06;
};
const hole = () => {
  let most = 0,
    end = Infinity;
  for (const { top, bottom } of [...$("#run").closest(".rg-columns > .column").querySelectorAll("*")]
    .filter((one) => !one.childElementCount && one.checkVisibility() && !one.closest(".rg-run"))
    .map(box)
    .filter(({ height }) => height)
    .sort((a, b) => a.top - b.top)) {
    most = Math.max(most, top - end);
    end = end === Infinity ? bottom : Math.max(end, bottom);
  }
  return most;
};
const runIsSeen = () =>
  [
    0,
    ...Array(15)
      .fill()
      .map((_, n) => 300 + 40 * n),
    10_000,
  ].every((top) => {
    scrollTo(0, top);
    const { left, top: above, bottom, width, height } = box(".rg-run");
    const on = (x) => document.elementFromPoint(left + x * width, above + 6).closest(".rg-run");
    return height > 40 && above >= 0 && bottom <= innerHeight + 1 && on(0.1) && on(0.9);
  });
const outlines = () => {
  const {
    view,
    clip: { width, height },
    editor: { scale },
  } = regrain;
  const { left, top } = box(".rg-canvas-stage canvas");
  return $$(".rg-box:not([hidden])")
    .map(box)
    .map((one) =>
      [
        (one.left - left) / scale + view.x * width,
        (one.top - top) / scale + view.y * height,
        one.width / scale,
        one.height / scale,
      ].map(Math.round),
    );
};
const focusIs = (how) => $(`[data-part=Focus] [data-key=${how}][aria-pressed=true]`);
const focusSays = (said) => $$("[data-part=Focus] p").some((one) => one.textContent.includes(said));
const inSight = (...parts) => {
  const bar = box(".rg-run");
  return parts.every((part) => {
    const { height, top, bottom, left, right } = box(part);
    const above = !$(part).closest(".rg-run") && bar.left < right && bar.right > left;
    return height > 9 && top >= 0 && bottom <= (above ? bar.top : innerHeight) + 1;
  });
};
const report = () => fetch($("[data-file='report.json']").href).then((r) => r.json());
const equal = (a, b) => JSON.stringify(a) === JSON.stringify(b);
