// The frame with its masks. The server's masks are the truth; points and strokes show at once and wait for it.

function mountCanvas(element, props, trigger, watch) {
  const editor = (hub.editor = { id: null, rev: -1, frame: 0, tool: "add", radius: 12, masks: [], bitmaps: [], loaded: 0, pending: [], clip: null, labels: [], stale: [] });
  const root = make("div", "rg-editor"), bar = make("div", "rg-toolbar"), stage = make("div", "rg-canvas-stage"), canvas = make("canvas"), context = canvas.getContext("2d");
  const note = make("p", "rg-say"), chip = make("span", "rg-chip", "Finding the mask"), heard = make("p", "rg-heard"), tints = new Map();
  const touch = matchMedia("(pointer: coarse)");
  let scale = 1, asked = false, nonce = 0, stroke = null, hover = null, cursor = null, playing = 0, hide = false, noted = false;
  Object.assign(canvas, { tabIndex: 0 });
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", "Frame: click a thing to mask it. Shift and arrows move a cursor, Enter uses the tool there.");
  note.setAttribute("role", "status");
  heard.setAttribute("aria-live", "polite");
  root.editor = editor;

  const frameOf = (frame) => Math.min(Math.max(frame, 0), (editor.clip?.count ?? 1) - 1);
  const draw = () => { if (!asked) { asked = true; requestAnimationFrame(() => paint()); } };
  const go = (frame) => {
    if (!editor.clip) return;
    editor.frame = frameOf(frame);
    draw();
    line.draw();
    tellFinder();
  };
  const hint = () => {
    const region = hub.regions.find((one) => one.label === hub.active), name = region ? "“" + region.name + "”" : "a new region";
    const tap = touch.matches ? "Tap" : "Click";
    return {
      add: `${tap} a thing: it becomes part of ${name}.${touch.matches ? "" : " Right click takes away."}`,
      remove: `${tap} what does not belong to ${name}.`,
      brush: `Paint onto ${name}${touch.matches ? "" : "; hold Alt to erase"}.`,
      erase: `Erase from ${name}.`,
    }[editor.tool];
  };
  const say = (text, alarm = false) => { noted = Boolean(text); note.textContent = text || hint(); note.classList.toggle("rg-alarm", noted && alarm); };
  const ask = (act, data = {}, wait = null) => {
    if (editor.id === null) { say("Load a clip first.", true); return; }
    nonce += 1;
    if (wait) editor.pending.push({ nonce, frame: editor.frame, label: hub.active, ...wait });
    trigger("act", { act, id: editor.id, have: editor.rev, nonce, frame: editor.frame, label: hub.active, ...data });
    chip.hidden = !editor.pending.length;
    draw();
  };
  const colorOf = (label) => hub.regions.find((region) => region.label === label)?.color ?? "#ffe11a";
  const track = () => { if (editor.tracking) ask("stop"); else if (editor.clip) { editor.tracking ||= -1; refresh(); trigger("track", { id: editor.id, have: editor.rev }); } };
  const line = makeTimeline(editor, go, () => play(!playing));

  // Tools
  const tools = {}, pick = make("div", "rg-pick");
  pick.setAttribute("role", "group");
  const choose = (name) => {
    editor.tool = name;
    for (const [tool, node] of Object.entries(tools)) node.setAttribute("aria-pressed", String(tool === name));
    const brushes = name === "brush" || name === "erase";
    sizes.hidden = !brushes;
    canvas.style.touchAction = brushes ? "none" : "manipulation";
    canvas.style.cursor = brushes ? "none" : "crosshair";
    heard.textContent = { add: "Add points", remove: "Remove points", brush: "Brush", erase: "Eraser" }[name];
    say("");
    draw();
  };
  const kinds = [["add", "Add", "Add a point: this belongs to the region (V)"], ["remove", "Remove", "Remove: this does not belong to it (X, or right click)"], ["brush", "Brush", "Brush (B)"], ["erase", "Erase", "Eraser (E)"]];
  for (const [name, text, hint] of kinds) {
    tools[name] = iconButton("rg-tool", name, hint, () => choose(name), text);
    tools[name].dataset.tool = name;
    pick.append(tools[name]);
  }
  const sizes = make("label", "rg-size"), size = make("input"), sizeText = make("span", "", "12");
  Object.assign(size, { type: "range", min: 1, max: 100, value: 12 });
  size.setAttribute("aria-label", "Size of the brush");
  const resize = (radius) => { editor.radius = Math.min(Math.max(Math.round(radius), 1), 100); size.value = editor.radius; sizeText.textContent = editor.radius; draw(); };
  size.addEventListener("input", () => resize(Number(size.value)));
  sizes.append(size, sizeText);
  const undo = iconButton("rg-tool", "undo", "Undo (Ctrl+Z)", () => ask("undo"), "Undo");
  const redo = iconButton("rg-tool", "redo", "Redo (Ctrl+Shift+Z)", () => ask("redo"), "Redo");
  const follows = iconButton("rg-tool rg-track", "track", "Follow the regions through the clip (T)", track, "Track");
  const right = make("div", "rg-pick");
  right.append(undo, redo);
  bar.append(pick, right, follows);
  stage.append(canvas, chip, sizes);
  chip.hidden = true;
  // Who finds masks: for the chosen region, from its clicks and strokes.
  const finders = make("div", "rg-finders"), by = {}, who = make("span", "rg-who"), both = make("div", "rg-pick");
  both.setAttribute("role", "group");
  both.setAttribute("aria-label", "Who finds the mask of the chosen region");
  for (const [name, text, what] of [["sam", "SAM", "Masks by SAM, a network that knows things"], ["grabcut", "Colours", "Masks from colours (GrabCut), by clicks and strokes: for when SAM fails (C)"]]) {
    by[name] = button("rg-tool rg-small", text, () => ask("find", { by: name }), what);
    by[name].dataset.finder = name;
    both.append(by[name]);
  }
  finders.append(who, both);
  const finderNow = () => editor.finders?.[hub.active] ?? (editor.sam ? "sam" : "grabcut");
  function tellFinder() {
    both.hidden = !editor.sam;
    for (const [name, node] of Object.entries(by)) node.setAttribute("aria-pressed", String(name === finderNow()));
    const entry = editor.masks[editor.frame]?.[hub.active];
    who.textContent = entry?.by ? "Found by " + entry.by : entry?.key ? "Painted by hand" : "";
  }
  const below = make("div", "rg-below");
  below.append(note, finders);
  root.append(bar, stage, below, line.node, heard, makeHelp());
  const drop = button("rg-drop", "", () => openFile());
  drop.append(icon("open"), make("strong", "", "Drop a clip here, or choose one"), make("span", "", "mp4, mov, webm, gif, or a project saved as zip"));
  element.replaceChildren(drop, root);
  choose("add");

  // Drawing
  const tintOf = (frame) => {
    if (!tints.has(frame)) {
      if (tints.size > 24) tints.delete(tints.keys().next().value);
      tints.set(frame, paintTint(editor, frame));
    }
    return tints.get(frame);
  };
  const paint = () => {
    asked = false;
    const { width, height } = canvas, clip = editor.clip;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!clip || !editor.bitmaps[editor.frame]) return;
    context.imageSmoothingQuality = "high";
    context.drawImage(editor.bitmaps[editor.frame], 0, 0, width, height);
    const tint = hide ? null : tintOf(editor.frame);
    if (tint) context.drawImage(tint.picture, 0, 0, width, height);
    const one = width / clip.width, unit = width / canvas.clientWidth;
    context.setTransform(one, 0, 0, one, 0, 0);
    context.lineCap = context.lineJoin = "round";
    for (const wait of [...editor.pending, ...(stroke ? [stroke] : [])]) {
      if (!wait.path || wait.frame !== editor.frame) continue;
      context.globalAlpha = 0.55;
      context.strokeStyle = wait.erase ? "#fff" : colorOf(wait.label);
      context.lineWidth = 2 * wait.radius;
      context.beginPath();
      wait.path.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
      if (wait.path.length === 1) context.lineTo(wait.path[0][0] + 0.01, wait.path[0][1]);
      context.stroke();
    }
    context.globalAlpha = 1;
    for (const [region, x, y] of tint?.numbers ?? []) drawNumber(context, region, x, y, unit / one);
    if (!hide && !playing) for (const [x, y, inside, label] of pointsHere()) drawPoint(context, x, y, inside, colorOf(label), unit / one, label === hub.active);
    const ring = cursor ?? hover, brushes = editor.tool === "brush" || editor.tool === "erase";
    if (ring && (brushes || cursor)) {
      for (const [color, wide] of [["#000", 3], ["#fff", 1.5]]) {
        context.strokeStyle = color;
        context.lineWidth = (wide * unit) / one;
        context.beginPath();
        context.arc(ring[0], ring[1], brushes ? editor.radius : (7 * unit) / one, 0, 7);
        context.stroke();
      }
    }
  };
  const dab = () => ({ path: [cursor], radius: editor.radius, erase: editor.tool === "erase", frame: editor.frame, label: hub.active });
  const pointsHere = () => {
    const kept = Object.entries(editor.masks[editor.frame] ?? {}).flatMap(([label, entry]) => entry.points.map((point) => [...point, Number(label)]));
    const known = new Set(kept.map(([x, y]) => x + "," + y));
    const waiting = editor.pending.filter((wait) => wait.point && wait.frame === editor.frame && !known.has(wait.point[0] + "," + wait.point[1]));
    return [...kept, ...waiting.map((wait) => [...wait.point, wait.label])];
  };
  const fit = () => {
    if (!editor.clip || !stage.clientWidth) return;
    const { width, height } = editor.clip, tall = Math.min(Math.max(innerHeight * 0.52, 260), 620);
    scale = Math.min(stage.clientWidth / width, tall / height);
    const dots = Math.min(devicePixelRatio || 1, 2);
    Object.assign(canvas.style, { width: Math.round(width * scale) + "px", height: Math.round(height * scale) + "px" });
    Object.assign(canvas, { width: Math.round(width * scale * dots), height: Math.round(height * scale * dots) });
    draw();
  };
  new ResizeObserver(fit).observe(stage);

  // Pointer
  const place = (event) => {
    const box = canvas.getBoundingClientRect(), { width, height } = editor.clip;
    const clamp = (value, limit) => Math.round(Math.min(Math.max(value, 0), limit - 0.01) * 100) / 100;
    return [clamp(((event.clientX - box.left) / box.width) * width, width), clamp(((event.clientY - box.top) / box.height) * height, height)];
  };
  const clickAt = (at, other) => {
    const reach = 9 / scale, hit = pointsHere().find(([x, y, , label]) => label === hub.active && Math.hypot(x - at[0], y - at[1]) < reach);
    if (hit) { ask("unpoint", { at: hit.slice(0, 2) }); return; }
    const inside = (editor.tool === "remove") === other;
    ask("point", { at, inside }, { point: [...at, Number(inside)] });
  };
  let down = null;
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("pointerdown", (event) => {
    if (!editor.clip || event.button === 1) return;
    play(false);
    cursor = null;
    down = [event.clientX, event.clientY];
    if (editor.tool !== "brush" && editor.tool !== "erase") return;
    canvas.setPointerCapture(event.pointerId);
    const erase = (editor.tool === "erase") !== (event.button === 2 || event.altKey);
    stroke = { path: [place(event)], radius: editor.radius, erase, frame: editor.frame, label: hub.active };
    draw();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!editor.clip) return;
    hover = event.pointerType === "touch" ? null : place(event);
    if (stroke) {
      for (const part of event.getCoalescedEvents?.() ?? [event]) {
        const at = place(part), last = stroke.path[stroke.path.length - 1];
        if (Math.hypot(at[0] - last[0], at[1] - last[1]) >= 0.7 && stroke.path.length < 4000) stroke.path.push(at);
      }
    }
    draw();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!editor.clip || !down) return;
    const still = Math.hypot(event.clientX - down[0], event.clientY - down[1]) < 8;
    down = null;
    if (stroke) {
      const { path, radius, erase } = stroke;
      ask("stroke", { path, radius, erase }, stroke);
      stroke = null;
    } else if (still) clickAt(place(event), event.button === 2 || event.altKey);
  });
  canvas.addEventListener("pointercancel", () => { down = stroke = null; draw(); });
  canvas.addEventListener("pointerleave", () => { hover = null; draw(); });
  canvas.addEventListener("wheel", (event) => { if (event.shiftKey) { event.preventDefault(); resize(editor.radius - Math.sign(event.deltaY || event.deltaX)); } }, { passive: false });

  const play = (on) => {
    clearInterval(playing);
    playing = on && editor.clip ? setInterval(() => go((editor.frame + 1) % editor.clip.count), 1000 / editor.clip.fps) : 0;
    line.playing(Boolean(playing));
    draw();
  };

  // Keyboard
  const acts = {
    v: () => choose("add"), x: () => choose(editor.tool === "add" ? "remove" : "add"), b: () => choose("brush"), e: () => choose("erase"), "[": () => resize(editor.radius * 0.85 - 0.5),
    "]": () => resize(editor.radius * 1.15 + 0.5), ",": () => go(editor.frame - 1), ".": () => go(editor.frame + 1), arrowleft: () => go(editor.frame - 1), arrowright: () => go(editor.frame + 1),
    home: () => go(0), end: () => go(1e9), " ": () => play(!playing), n: () => hub.tell("add"), t: track, c: () => { if (editor.sam) ask("find", { by: finderNow() === "sam" ? "grabcut" : "sam" }); }, h: () => { hide = !hide; draw(); }, "?": () => root.querySelector("dialog").showModal(),
    escape: () => { stroke = cursor = null; choose("add"); },
  };
  const press = (event) => {
    if (!root.isConnected) { document.removeEventListener("keydown", press); return; }
    const target = event.target, key = event.key.toLowerCase();
    if (target.closest("input:not([type=range]), textarea, select, [contenteditable], dialog[open]") || document.body.dataset.stage === "edit") return;
    if ((event.ctrlKey || event.metaKey) && key === "z") { event.preventDefault(); ask(event.shiftKey ? "redo" : "undo"); return; }
    if (event.ctrlKey || event.metaKey || event.altKey || !editor.clip) return;
    const sides = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] };
    if (event.shiftKey && sides[key]) {
      const step = 4 / scale, { width, height } = editor.clip, from = cursor ?? [width / 2, height / 2];
      cursor = [0, 1].map((i) => Math.round(Math.min(Math.max(from[i] + sides[key][i] * step, 0), [width, height][i] - 1) * 100) / 100);
      draw();
    } else if (key === "enter" && cursor && target === canvas) {
      if (editor.tool === "brush" || editor.tool === "erase") { const { path, radius, erase } = dab(); ask("stroke", { path, radius, erase }, dab()); }
      else clickAt(cursor, false);
    }
    else if ((key === " " || key === "enter") && target.closest("button, a, summary")) return;
    else if (editor.labels.includes(Number(key))) hub.tell("choose", Number(key));
    else if (acts[key] && !(target.type === "range" && key.startsWith("arrow"))) acts[key]();
    else return;
    event.preventDefault();
  };
  document.addEventListener("keydown", press);

  // What others in the page say
  const redraw = () => { tints.clear(); draw(); line.draw(); };
  hub.on("regions", () => { if (!noted) say(""); redraw(); });
  hub.on("choose", (label) => { hub.active = label; say(""); redraw(); tellFinder(); });
  hub.on("method", (method) => { bar.inert = method?.regions === "ignored"; });
  hub.on("act", ({ act, ...data }) => ask(act, data));
  hub.on("trim", (part) => trigger("trim", part));
  hub.on("save", () => trigger("save", {}));
  hub.on("help", () => root.querySelector("dialog").showModal());
  hub.on("stage", (name) => { if (name === "masks") requestAnimationFrame(fit); else play(false); });

  // What the server says
  const load = async (id) => {
    const { folder, count } = editor.clip, order = [...Array(count).keys()];
    const next = async () => {
      for (let frame = order.shift(); frame !== undefined; frame = order.shift()) {
        const image = new Image();
        image.src = fileUrl(folder + "/" + String(frame).padStart(5, "0") + ".jpg");
        const bitmap = await image.decode().then(() => createImageBitmap(image)).catch(() => null);
        if (editor.id !== id) { bitmap?.close(); return; }
        editor.bitmaps[frame] = bitmap;
        editor.loaded += 1;
        if (frame === editor.frame) draw();
        line.film();
      }
    };
    await Promise.all([next(), next(), next(), next()]);
  };
  const refresh = () => {
    const busy = Boolean(editor.tracking);
    undo.disabled = !editor.undo;
    redo.disabled = !editor.redo;
    follows.lastChild.textContent = busy ? "Stop" : "Track";
    follows.classList.toggle("rg-due", !busy && editor.stale.length > 0);
    follows.dataset.busy = String(busy);
    chip.hidden = !editor.pending.length;
    root.dataset.tracking = String(busy);
  };
  const reset = (value) => {
    play(false);
    editor.bitmaps.forEach((bitmap) => bitmap?.close());
    Object.assign(editor, { id: value.id, clip: value.clip, frame: 0, masks: [], bitmaps: [], loaded: 0, pending: [], labels: [] });
    hub.hidden.clear();
    tints.clear();
    resize(Math.max(value.clip.width, value.clip.height) / 28);
    load(value.id);
    line.reset();
    fit();
    hub.clip = value.clip;
    hub.tell("clip", value.clip);
    showStage("masks");
  };
  follow(props, watch, (value) => {
    root.hidden = !value && !editor.clip;
    drop.hidden = !root.hidden;
    if (!value) return;
    if (value.gone) { editor.pending = []; say(value.note, true); editor.tracking = 0; refresh(); draw(); return; }
    const seen = new Set(value.acknowledged);
    const fresh = value.id !== editor.id;
    if (fresh) reset(value);
    else {
      editor.pending = editor.pending.filter((wait) => !seen.has(wait.nonce));
      if (value.rev < editor.rev) { refresh(); return; }
    }
    for (const [frame, entries] of Object.entries(value.changes)) { editor.masks[frame] = entries; tints.delete(Number(frame)); }
    const { rev, tracking, stale, labels } = value;
    const added = labels.filter((label) => !editor.labels.includes(label));
    Object.assign(editor, { rev, tracking, stale, labels, undo: value.undo, redo: value.redo, finders: value.finders, sam: value.sam });
    const active = !fresh && added.length ? added[0] : labels.includes(hub.active) ? hub.active : (labels[0] ?? 0);
    if (active !== hub.active) hub.tell("choose", active);
    say(value.note, value.alarm);
    refresh();
    draw();
    line.draw();
    tellFinder();
    hub.tell("masks");
  });
}
