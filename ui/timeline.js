// Frames and, below, one lane per region: where its mask is, how sure the tracker is, which frames were drawn.

const makeTimeline = (editor, go, play) => {
  const node = make("div", "rg-time"), ruler = make("div", "rg-ruler"), lanes = make("div", "rg-lanes"), head = make("div", "rg-playhead"), count = make("span", "rg-count");
  const knobs = make("div", "rg-knobs"), legend = make("p", "rg-legend");
  const toggle = iconButton("rg-tool", "play", "Play (Space)", play);
  knobs.append(iconButton("rg-tool", "back", "Frame before (,)", () => go(editor.frame - 1)), toggle, iconButton("rg-tool", "next", "Frame after (.)", () => go(editor.frame + 1)));
  Object.assign(ruler, { tabIndex: 0 });
  ruler.setAttribute("role", "slider");
  ruler.setAttribute("aria-label", "Frame");
  ruler.setAttribute("aria-valuemin", "1");
  const strip = make("canvas", "rg-film");
  strip.setAttribute("aria-hidden", "true");
  ruler.append(strip);
  let due = 0;
  // As many whole frames as fit, each where it stands in the clip.
  const film = () => {
    cancelAnimationFrame(due);
    due = requestAnimationFrame(() => {
      const wide = ruler.clientWidth, high = ruler.clientHeight, clip = editor.clip, dots = Math.min(devicePixelRatio || 1, 2);
      if (!clip || !wide) return;
      Object.assign(strip, { width: wide * dots, height: high * dots });
      const context = strip.getContext("2d"), cell = wide / clip.count;
      const cells = Math.max(1, Math.min(clip.count, Math.floor(wide / Math.max(cell, (high * clip.width) / clip.height * 0.6)))), each = wide / cells;
      for (let i = 0; i < cells; i++) {
        const bitmap = editor.bitmaps[Math.floor(((i + 0.5) / cells) * clip.count)];
        if (!bitmap) continue;
        const zoom = Math.max(each / bitmap.width, high / bitmap.height), part = [each / zoom, high / zoom];
        context.drawImage(bitmap, (bitmap.width - part[0]) / 2, (bitmap.height - part[1]) / 2, ...part, i * each * dots, 0, each * dots, high * dots);
      }
    });
  };
  new ResizeObserver(film).observe(ruler);
  const top = make("div", "rg-time-row");
  top.append(knobs, ruler, count);
  const field = make("div", "rg-time-field");
  field.append(head);
  const sign = (name, text) => { const part = make("span", "rg-sign", text); part.prepend(make("i", name)); return part; };
  legend.append(sign("rg-is-key", "drawn by hand"), sign("rg-is-sure", "tracked"), sign("rg-is-doubtful", "doubtful"), sign("rg-is-none", "no mask"));
  node.append(top, lanes, field, legend);
  let shown = "";

  const at = (event) => {
    const box = ruler.getBoundingClientRect();
    go(Math.floor(((event.clientX - box.left) / box.width) * editor.clip.count));
  };
  node.addEventListener("pointerdown", (event) => {
    const box = ruler.getBoundingClientRect();
    if (!editor.clip || event.target.closest("button") || event.clientX < box.left || event.clientX > box.right || event.target.closest(".rg-legend")) return;
    const lane = event.target.closest(".rg-lane");
    if (lane) hub.tell("choose", Number(lane.dataset.label));
    node.setPointerCapture(event.pointerId);
    ruler.focus({ preventScroll: true });
    at(event);
  });
  node.addEventListener("pointermove", (event) => { if (node.hasPointerCapture(event.pointerId)) at(event); });

  const kindOf = (entry) => {
    if (!entry || (!entry.runs && !entry.key)) return entry && !entry.points.length ? "rg-cell rg-is-doubtful" : "rg-cell";
    return "rg-cell " + (entry.key ? "rg-is-key" : entry.score < 0.5 ? "rg-is-doubtful" : "rg-is-sure");
  };
  const draw = () => {
    if (!editor.clip) return;
    const total = editor.clip.count;
    node.style.setProperty("--at", (editor.frame + 0.5) / total);
    count.textContent = editor.frame + 1 + " / " + total;
    ruler.setAttribute("aria-valuemax", String(total));
    ruler.setAttribute("aria-valuenow", String(editor.frame + 1));
    ruler.setAttribute("aria-valuetext", "frame " + (editor.frame + 1) + " of " + total);
    const wanted = JSON.stringify([total, editor.rev, hub.active, hub.regions.map(({ label, color, name }) => [label, color, name])]);
    if (wanted === shown) return;
    shown = wanted;
    ruler.style.setProperty("--frames", total);
    while (lanes.children.length > hub.regions.length) lanes.lastChild.remove();
    hub.regions.forEach((region, i) => {
      if (!lanes.children[i]) {
        const row = make("div", "rg-time-row rg-lane");
        row.append(make("div", "rg-lane-name"), make("div", "rg-cells"), make("span", "rg-count"));
        lanes.append(row);
      }
      const row = lanes.children[i], [name, cells, covered] = row.children;
      row.dataset.label = region.label;
      row.classList.toggle("rg-active", region.label === hub.active);
      if (isColor(region.color)) row.style.setProperty("--region", region.color);
      name.replaceChildren(badge(region.label, region.color), make("span", "", region.name));
      while (cells.children.length > total) cells.lastChild.remove();
      while (cells.children.length < total) cells.append(make("i"));
      let masked = 0;
      for (let frame = 0; frame < total; frame++) {
        const entry = editor.masks[frame]?.[region.label], cell = cells.children[frame];
        cell.className = kindOf(entry);
        cell.style.setProperty("--sure", entry ? Math.max(0.25, entry.score) : 0);
        masked += Boolean(entry?.runs);
      }
      covered.textContent = masked + " / " + total;
    });
    legend.hidden = !hub.regions.length;
  };
  return { node, draw, film, reset: () => { shown = ""; }, playing: (on) => toggle.replaceChildren(icon(on ? "pause" : "play")) };
};
