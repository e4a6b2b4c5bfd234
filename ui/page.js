function mountHeader(element) {
  const button = element.querySelector("button");
  const name = () => {
    const dark = document.body.classList.contains("dark");
    button.replaceChildren(icon("sun"), make("span", "", dark ? "Light" : "Dark"));
    button.setAttribute("aria-label", dark ? "Change to light" : "Change to dark");
  };
  const turn = (dark) => { document.body.classList.toggle("dark", dark); name(); };
  const kept = sessionStorage.getItem("regrain-dark");
  button.addEventListener("click", () => { turn(); sessionStorage.setItem("regrain-dark", document.body.classList.contains("dark")); });
  turn(kept ? kept === "true" : document.body.classList.contains("dark"));
  if (window.regrainKeys) return;
  window.regrainKeys = true;
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      document.querySelector("#run")?.click();
    }
  });
}

function mountGallery(element, props, trigger, watch) {
  for (const kind of ["dragover", "drop"]) {
    document.addEventListener(kind, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      if (kind === "drop" && event.dataTransfer.files.length) openFile(event.dataTransfer.files);
    });
  }
  let own = null;
  const opened = (clip) => own?.setAttribute("aria-pressed", String(Boolean(clip?.own)));
  hub.on("clip", opened);
  follow(props, watch, (value) => {
    const row = make("div", "rg-gallery");
    own = button("rg-own", "", () => openFile());
    own.id = "open";
    opened(hub.clip);
    const said = make("span", "rg-example-text");
    said.append(make("strong", "", "Your own clip"), make("span", "rg-change", "Choose a video or a project.zip, or drop it anywhere. Up to 100 MB."));
    own.append(icon("open"), said);
    row.append(own);
    for (const item of value.items) {
      const card = make("button", "rg-example");
      card.type = "button";
      card.dataset.name = item.name;
      card.setAttribute("aria-pressed", String(item.name === value.chosen));
      const picture = make("img");
      picture.src = item.picture;
      picture.alt = "";
      const text = make("span", "rg-example-text");
      text.append(make("strong", "", item.title));
      for (const change of item.changes) {
        const line = make("span", "rg-change");
        line.append(badge(change.label, change.color));
        line.append(make("span", "", change.prompt ? "→ " + change.prompt : "stays"));
        line.title = change.prompt ? change.source + " → " + change.prompt : change.source + " stays";
        text.append(line);
      }
      for (const prompt of item.prompts) {
        const line = make("span", "rg-change");
        line.append(make("span", "", prompt));
        line.title = prompt;
        text.append(line);
      }
      card.append(picture, text);
      card.addEventListener("click", () => trigger("pick", { name: item.name }));
      row.append(card);
    }
    element.replaceChildren(row);
  });
}

// While a run goes on, the empty place shows the expected frame that is nearest to the source's.
const showComing = (pane, picture, frame) => {
  const live = hub.live;
  picture.hidden = !live;
  pane.lastChild.textContent = live ? "Coming" : "";
  if (!live) return;
  const nearest = live.indices.reduce((best, index, i) => (Math.abs(index - frame) < Math.abs(live.indices[best] - frame) ? i : best), 0);
  if (picture.src !== live.frames[nearest]) picture.src = live.frames[nearest];
};

// The source clip beside its edits, all in step; a wipe or a flip compares two of them.
function mountPlayer(element, props, trigger, watch) {
  let watcher = 0, mode = "side", resume = () => {};
  hub.on("stage", (name) => { if (name === "edit") resume(); });
  follow(props, watch, (value) => {
    cancelAnimationFrame(watcher);
    if (!value) { resume = () => {}; element.replaceChildren(make("p", "rg-note", "Run, and the edit plays here beside the clip.")); return; }
    const root = make("div", "rg-player"), stage = make("div", "rg-stage"), bar = make("div", "rg-bar");
    root.style.setProperty("--aspect", value.width + " / " + value.height);
    root.style.setProperty("--ratio", value.width / value.height);
    const several = value.edits.length > 1;
    let chosen = 0, rebuilt = null;
    const pane = (name, title, path) => {
      const box = make("figure", "rg-pane"), node = make("video", name);
      Object.assign(node, { muted: true, loop: true, playsInline: true, autoplay: true, preload: "auto", src: fileUrl(path) });
      node.setAttribute("muted", "");
      node.setAttribute("aria-label", title);
      box.append(node, make("figcaption", "", title));
      box.title = title;
      return { box, node, title };
    };
    const source = pane("source", "Source", value.source);
    const edits = value.edits.map(({ prompt, path }) => pane("edited", several ? prompt : "Edited", path));
    edits.forEach(({ box }) => box.classList.add("rg-edited"));
    stage.append(source.box, ...edits.map(({ box }) => box));
    const coming = make("img", "rg-coming"), empty = make("figure", "rg-pane rg-empty");
    if (!edits.length) {
      coming.hidden = true;
      coming.alt = "What the model sees coming";
      empty.append(make("p", "", "The edit appears here"), coming, make("figcaption"));
      stage.append(empty);
    }
    const panes = () => [source, rebuilt?.on ? rebuilt : null, ...edits].filter(Boolean);
    const shown = () => (mode === "side" ? panes() : [rebuilt?.on ? rebuilt : source, edits[chosen]]);
    const play = iconButton("rg-tool", "pause", "Pause", () => playing(shown()[0].node.paused));
    const playing = (on) => {
      play.replaceChildren(icon(on ? "pause" : "play"));
      play.setAttribute("aria-label", on ? "Pause" : "Play");
      play.title = on ? "Pause" : "Play";
      shown().forEach(({ node }) => (on ? node.play().catch(() => {}) : node.pause()));
    };
    const seek = make("input", "rg-seek"), count = make("span", "rg-count", "1 / " + value.frames);
    Object.assign(seek, { type: "range", min: 1, max: value.frames, step: 1, value: 1 });
    seek.setAttribute("aria-label", "Frame of the players");
    seek.addEventListener("input", () => {
      playing(false);
      shown().forEach(({ node }) => { node.currentTime = (seek.value - 0.5) / value.fps; });
      count.textContent = seek.value + " / " + value.frames;
      hub.tell("frame", Number(seek.value));
    });
    bar.append(play, seek, count);
    const arrange = () => {
      const here = shown(), all = [source, rebuilt, ...edits].filter(Boolean), lead = all.find(({ node }) => !node.paused) ?? here[0];
      const time = lead.node.currentTime, runs = !lead.node.paused;
      root.dataset.mode = mode;
      root.dataset.panes = here.length + (edits.length ? 0 : 1);
      for (const one of all) {
        one.box.hidden = !here.includes(one);
        if (one.box.hidden) one.node.pause();
        else if (Math.abs(one.node.currentTime - time) > 0.05) one.node.currentTime = time;
      }
      playing(runs);
    };
    if (edits.length) {
      const wipe = make("input", "rg-wipe");
      Object.assign(wipe, { type: "range", min: 0, max: 100, value: 50, step: 0.5 });
      wipe.setAttribute("aria-label", "Boundary between source and edit");
      const cut = () => stage.style.setProperty("--cut", wipe.value + "%");
      wipe.addEventListener("input", cut);
      cut();
      stage.append(wipe); // over the picture: its edge is dragged there
      const hold = (on) => root.toggleAttribute("data-held", on && mode === "flip");
      for (const [kind, on] of [["pointerdown", true], ["pointerup", false], ["pointerleave", false], ["pointercancel", false]]) stage.addEventListener(kind, () => hold(on));
      const choices = (title, entries, act) => {
        const group = make("div", "rg-pick");
        group.setAttribute("role", "group");
        group.setAttribute("aria-label", title);
        for (const [kind, text, hint] of entries) {
          const one = button("rg-tool", text, () => { act(kind); set(); }, hint);
          one.dataset.kind = kind;
          if (hint) one.setAttribute("aria-label", hint);
          group.append(one);
        }
        return group;
      };
      const ways = choices("How to compare", [["side", "Side by side"], ["wipe", "Wipe"], ["flip", "Flip"]], (kind) => { mode = kind; });
      const which = choices("Edit to compare", value.edits.map(({ prompt }, i) => [i, String(i + 1), "Edit " + (i + 1) + ": " + prompt]), (kind) => { chosen = kind; });
      const swap = button("rg-tool", "Reconstruction", () => {
        if (!rebuilt) { rebuilt = pane("reconstruction", "Reconstruction", value.reconstruction); source.box.after(rebuilt.box); }
        rebuilt.on = !rebuilt.on;
        set();
      }, "What comes back of the source without an edit");
      const set = () => {
        for (const [group, kind] of [[ways, mode], [which, chosen]]) for (const one of group.children) one.setAttribute("aria-pressed", String(one.dataset.kind === String(kind)));
        swap.setAttribute("aria-pressed", String(Boolean(rebuilt?.on)));
        which.hidden = !several || mode === "side";
        for (const { box, title } of edits) box.lastChild.textContent = mode === "flip" ? title + "; hold to see the source" : title;
        arrange();
      };
      bar.append(ways, which, ...(value.reconstruction ? [swap] : []));
      set();
    } else {
      mode = "side";
      arrange();
    }
    playing(true);
    root.append(stage, bar);
    element.replaceChildren(root);
    const span = value.frames / value.fps;
    const keep = () => {
      if (!root.isConnected) return;
      if (!edits.length) showComing(empty, coming, Number(seek.value));
      const [lead, ...others] = shown().map(({ node }) => node);
      if (!lead.paused && !lead.seeking) {
        for (const node of others) {
          const gap = Math.abs(node.currentTime - lead.currentTime);
          if (Math.min(gap, Math.abs(span - gap)) > 0.05 && !node.seeking && node.readyState > 1) node.currentTime = lead.currentTime;
          if (node.paused) node.play().catch(() => {});
        }
        const frame = Math.min(value.frames, Math.floor(lead.currentTime * value.fps + 0.01) + 1);
        if (Number(seek.value) !== frame) {
          seek.value = frame;
          count.textContent = frame + " / " + value.frames;
          hub.tell("frame", frame);
        }
      }
      watcher = requestAnimationFrame(keep);
    };
    keep();
    if (edits.length) showStage("edit");
    resume = () => playing(true);
    if (edits.length && matchMedia("(max-width: 900px)").matches) root.scrollIntoView({ behavior: "smooth", block: "center" });
  });
}

function mountPrompt(element, props, trigger, watch) {
  follow(props, watch, (value) => {
    const lines = (value ? value.prompts : []).map((parts) => {
      const line = make("p", "rg-prompt");
      for (const part of parts) {
        if (!part.label) { line.append(part.text); continue; }
        const words = make("span", "rg-words");
        if (isColor(part.color)) words.style.setProperty("--region", part.color);
        words.append(badge(part.label, part.color), make("span", "", part.text));
        line.append(words);
      }
      return line;
    });
    element.replaceChildren(make("p", "rg-caption", lines.length > 1 ? "Prompts of the run, an edit each" : "Prompt of the run"), ...lines);
    element.hidden = !lines.length;
  });
}

// Which method, what it does, and what of the page it uses.
function mountMethod(element, props, trigger, watch) {
  const root = make("div", "rg-method"), label = make("label", "rg-method-label", "Method"), pick = make("select");
  const said = make("p", "rg-method-say"), uses = make("ul", "rg-uses");
  label.append(pick);
  root.append(label, said, uses);
  element.replaceChildren(root);
  pick.addEventListener("change", () => trigger("choose", { name: pick.value }));
  follow(props, watch, (value) => {
    while (pick.options.length > value.methods.length) pick.lastChild.remove();
    value.methods.forEach(({ name, title }, i) => { pick.options[i] = new Option(title, name); });
    pick.value = value.chosen;
    const chosen = value.methods.find((method) => method.name === value.chosen);
    said.textContent = chosen.say;
    said.title = chosen.paper;
    uses.replaceChildren();
    for (const { name, used, rarely } of chosen.uses) {
      const item = make("li", used ? "" : "rg-unused");
      item.append(icon(used ? "yes" : "no"), make("span", "", used ? name + (rarely ? " (with Variation)" : "") : name + ": not used"));
      uses.append(item);
    }
    hub.method = chosen;
    hub.tell("method", chosen);
  });
}

function mountProgress(element, props, trigger, watch) {
  const root = make("div", "rg-progress"), bars = make("div", "rg-stages"), line = make("div", "rg-line");
  bars.setAttribute("aria-hidden", "true");
  root.append(bars, line);
  element.replaceChildren(root);
  let begun = false, stopped = false;
  follow(props, watch, (value) => {
    // What a stopped run still had to say can arrive after the notice that it was stopped.
    if (stopped && value && value.state === "running" && !value.asked) return;
    stopped = Boolean(value) && value.state === "stopped";
    root.hidden = !value;
    root.dataset.state = value ? value.state : "";
    if (!value) { line.textContent = ""; return; }
    if (value.state === "running" && value.stages.some((stage) => stage.now) && !begun) showStage("edit");
    begun = value.state === "running" && value.stages.some((stage) => stage.now);
    line.setAttribute("role", value.state === "error" ? "alert" : "status");
    bars.hidden = !value.stages.length;
    while (bars.children.length > value.stages.length) bars.lastChild.remove();
    value.stages.forEach((stage, i) => {
      let box = bars.children[i];
      if (!box) { box = make("div", "rg-step"); box.append(make("i"), make("span")); bars.append(box); }
      box.classList.toggle("rg-now", stage.now);
      box.firstChild.style.setProperty("--share", stage.share);
      box.lastChild.textContent = stage.name;
    });
    const said = [make("strong", "", value.text), make("span", "rg-detail", value.detail)];
    line.replaceChildren(...(value.state === "error" ? said.reverse() : said));
  });
}

function mountLive(element, props, trigger, watch) {
  const strip = (row, sources, captions) => {
    while (row.children.length > sources.length) row.lastChild.remove();
    sources.forEach((source, i) => {
      if (!row.children[i]) { const box = make("figure"); box.append(make("img"), make("figcaption")); row.append(box); }
      row.children[i].firstChild.src = source;
      row.children[i].firstChild.alt = captions ? "frame " + captions[i] : "";
      row.children[i].lastChild.textContent = captions ? captions[i] : "";
    });
  };
  follow(props, watch, (value) => {
    hub.live = value;
    if (!value) { element.replaceChildren(); return; }
    let root = element.querySelector(".rg-live");
    if (!root || root.dataset.rows !== String(value.heat.length)) {
      root = make("div", "rg-live");
      root.dataset.rows = value.heat.length;
      for (let i = 0; i <= value.heat.length; i++) { root.append(make("div", "rg-row-name"), make("div", "rg-strip")); }
      element.replaceChildren(root);
    }
    const rows = root.querySelectorAll(".rg-strip"), names = root.querySelectorAll(".rg-row-name");
    root.style.setProperty("--count", value.frames.length);
    names[0].replaceChildren(make("span", "", "What the model sees coming"));
    strip(rows[0], value.frames, value.indices);
    value.heat.forEach((region, i) => {
      names[i + 1].replaceChildren(badge(region.label, region.color), make("span", "", region.caption), heatLegend(region.color));
      strip(rows[i + 1], region.frames, null);
    });
  });
}

function mountResult(element, props, trigger, watch) {
  let at = () => {};
  hub.on("frame", (frame) => at(frame));
  follow(props, watch, (value) => {
    const shown = [];
    // Pictures follow the player: each shows the frame nearest to the player's of those it has.
    const follows = (picture, sources, indices) => shown.push([picture, sources, indices]);
    at = (frame) => {
      for (const [picture, sources, indices] of shown) {
        const nearest = indices.reduce((best, index, i) => (Math.abs(index - frame) < Math.abs(indices[best] - frame) ? i : best), 0);
        if (picture.src !== sources[nearest]) picture.src = sources[nearest];
      }
    };
    if (!value) { element.replaceChildren(); return; }
    const root = make("div", "rg-result");
    const files = make("div", "rg-files");
    for (const file of value.files) {
      const number = /^edited_(\d+)\.mp4$/.exec(file.name)?.[1];
      const link = make("a", "rg-tool"), [text, hint] = number ? ["Video " + number, file.name] : { "edited.mp4": ["Download video", "edited.mp4"], "report.json": ["Report", "All settings and figures of this run, as JSON"], "reconstruction.mp4": ["Reconstruction", "The source rebuilt from its inversion"], "project.zip": ["Project", "Clip, masks, words and settings, to open here again"] }[file.name] ?? [file.name, file.name];
      link.href = fileUrl(file.path);
      link.download = file.name;
      link.title = hint;
      link.append(icon("save"), make("span", "", text));
      files.append(link);
    }
    const facts = make("dl", "rg-facts");
    for (const fact of value.facts) {
      const box = make("div");
      box.append(make("dt", "", fact.name), make("dd", "rg-value", fact.value), make("dd", "", fact.text));
      facts.append(box);
    }
    root.append(files, facts);
    if (value.attention.length) {
      const [heading, ...captions] = value.looks;
      root.append(make("h2", "", heading));
      const grid = make("div", "rg-attention");
      for (const region of value.attention) {
        const box = make("div", "rg-look"), title = make("div", "rg-row-name"), pair = make("div", "rg-pair");
        title.append(badge(region.label, region.color), make("span", "", region.name), heatLegend(region.color));
        for (const [when, text] of [["before", captions[0]], ["after", captions[1]]]) {
          const figure = make("figure"), picture = make("img");
          picture.alt = region.name + ": attention " + text;
          follows(picture, region[when], value.indices);
          figure.append(picture, make("figcaption", "", text));
          pair.append(figure);
        }
        box.append(title, pair, make("p", "", region.text));
        grid.append(box);
      }
      root.append(grid);
    }
    if (value.words) {
      root.append(make("h2", "", "Where every word looks, before anything is taken over"));
      const table = make("div", "rg-word-rows");
      for (const [name, words] of [["Source", value.words.source], ["Edit", value.words.edit]]) {
        const row = make("ul", "rg-words-row");
        row.setAttribute("aria-label", name);
        for (const { word, frames } of words) {
          const item = make("li"), picture = make("img");
          picture.alt = "";
          follows(picture, frames, value.words.indices);
          item.append(picture, make("span", "", word));
          row.append(item);
        }
        table.append(make("span", "rg-row-name", name), row);
      }
      root.append(table);
    }
    if (value.areas) {
      root.append(make("h2", "", "Where the edit was let through, step by step"));
      const row = make("ul", "rg-words-row");
      for (const { step, frames } of value.areas.steps) {
        const item = make("li"), picture = make("img");
        picture.alt = "";
        follows(picture, frames, value.areas.indices);
        item.append(picture, make("span", "", "step " + step));
        row.append(item);
      }
      root.append(row);
    }
    at(1);
    for (const warning of value.warnings) root.append(make("p", "rg-warning", warning));
    element.replaceChildren(root);
  });
}

// Masks or edit; and which clip this is, for one's own with a choice of its frames.
function mountTabs(element) {
  const root = make("div", "rg-tabs"), pair = make("div", "rg-pick"), facts = make("p", "rg-facts-line"), tools = make("div", "rg-clip-tools");
  pair.setAttribute("role", "group");
  const tabs = ["masks", "edit"].map((name) => button("rg-tool", name === "masks" ? "Masks" : "Edit", () => showStage(name)));
  pair.append(...tabs);
  const form = make("form", "rg-trim"), fields = {};
  for (const [name, title, low] of [["start", "First frame", 1], ["stride", "Every nth", 1], ["frames", "Frames", 1]]) {
    const label = make("label", "", title), field = make("input");
    Object.assign(field, { type: "number", min: low, max: name === "frames" ? 32 : 99999, required: true, inputMode: "numeric" });
    fields[name] = field;
    label.append(field);
    form.append(label);
  }
  const use = make("button", "rg-tool", "Use these");
  form.append(use);
  form.hidden = true;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    form.hidden = true;
    hub.tell("trim", { start: Number(fields.start.value) - 1, stride: Number(fields.stride.value), frames: Number(fields.frames.value) });
  });
  const cut = iconButton("rg-tool", "trim", "Choose other frames of this clip; its masks go", () => { form.hidden = !form.hidden; }, "Frames");
  cut.hidden = true;
  tools.append(cut, iconButton("rg-tool", "save", "Save the project with its masks as a zip file", () => hub.tell("save"), "Save"), iconButton("rg-tool", "keys", "Keyboard shortcuts (?)", () => hub.tell("help"), "Keys"));
  tools.lastChild.classList.add("rg-help-button");
  root.append(pair, facts, tools);
  element.replaceChildren(root, form);
  const show = (clip) => {
    const names = [clip.title, clip.count + (clip.count === 1 ? " frame" : " frames"), Math.round(clip.fps * 100) / 100 + " fps", clip.width + "×" + clip.height];
    facts.replaceChildren(make("span", "", names[0]), make("span", "", names.slice(1).join(" · ")));
    facts.title = names.join(" · ");
    cut.hidden = !clip.total;
    form.hidden = true;
    Object.entries({ start: clip.start + 1, stride: clip.stride, frames: clip.count }).forEach(([name, value]) => { fields[name].value = value; });
  };
  hub.on("clip", show);
  if (hub.clip) show(hub.clip);
  hub.on("stage", (name) => tabs.forEach((tab, i) => tab.setAttribute("aria-pressed", String(["masks", "edit"][i] === name))));
  showStage(document.body.dataset.stage || "masks");
}

function mountDownload(element, props, trigger, watch) {
  follow(props, watch, (value) => {
    if (!value) return;
    const link = make("a");
    link.href = fileUrl(value.path);
    link.download = "project.zip";
    link.click();
  });
}
