// One card per region. What is typed here is the truth; which regions there are, the server says.

function mountCards(element, props, trigger, watch) {
  const root = make("div", "rg-cards-box"), column = make("div", "rg-cards"), cards = new Map();
  const shows = make("label", "rg-shows", "The clip shows"), sentence = make("input");
  Object.assign(sentence, { type: "text", maxLength: 400, autocomplete: "off", spellcheck: false, placeholder: "in words; may stay empty", id: "rg-source" });
  shows.append(sentence);
  const becomes = make("label", "rg-shows", "It should show"), whole = make("textarea"), hint = make("span", "rg-caption", "One line, one edit; several are made in one run and shown side by side.");
  Object.assign(whole, { rows: 1, maxLength: 1600, autocomplete: "off", spellcheck: false, placeholder: "the whole frame, in words", id: "rg-whole" });
  hint.id = "rg-whole-hint";
  whole.setAttribute("aria-describedby", hint.id);
  becomes.append(whole);
  // As high as its lines; nothing is known of them while it is hidden.
  const grow = () => { whole.style.height = ""; if (whole.scrollHeight) whole.style.height = whole.scrollHeight + 2 + "px"; };
  const head = make("div", "rg-cards-head");
  const add = iconButton("rg-tool", "plus", "New region (N)", () => act("add"), "New region");
  add.id = "rg-add";
  // Triggered on this component: its value holds the words the search goes by.
  const find = iconButton("rg-tool", "find", "Find the things that “The clip shows” names, without a click", () => { keep(); trigger("discover", {}); }, "Find");
  find.id = "rg-find";
  const buttons = make("div", "rg-pick-loose");
  buttons.append(find, add);
  head.append(make("h2", "", "Regions"), buttons);
  const empty = make("p", "rg-note", "None yet. Click a thing in the frame: its mask becomes the first region.");
  const unused = make("p", "rg-note");
  root.append(shows, becomes, hint, head, unused, column, empty);
  const settle = () => {
    const method = hub.method, ignored = method?.regions === "ignored";
    becomes.hidden = !method || method.regions === "needed";
    hint.hidden = becomes.hidden || !method.several;
    grow();
    shows.classList.toggle("rg-off", Boolean(method) && !method.source_prompt);
    sentence.disabled = Boolean(method) && !method.source_prompt;
    for (const part of [head, column, empty]) { part.inert = ignored; part.classList.toggle("rg-off", ignored); }
    unused.hidden = !ignored;
    unused.textContent = ignored ? method.title + " edits the whole frame: regions and their masks are kept, but not used." : "";
  };
  hub.on("method", settle);
  settle();
  element.replaceChildren(root);
  let id = null, timer = 0, have = 0, taken;

  const read = () => ({
    id, have, source_prompt: sentence.value, prompt: whole.value,
    regions: hub.regions.map(({ label, name, color, source, prompt, margin }) => ({ label, name, color, source, prompt, margin })),
  });
  // The run reads this value, so it follows every letter; the prompt below only every pause.
  const keep = () => {
    take(props.value); // the server's newest word, should it not have been heard yet
    props.value = { ...read(), full: Boolean(props.value?.full) };
    taken = JSON.stringify(props.value);
  };
  const changed = () => {
    keep();
    clearTimeout(timer);
    timer = setTimeout(() => trigger("prompts", {}), 180);
  };
  const act = (name, label = hub.active) => { hub.tell("act", { act: name, label, cards: read() }); };
  hub.on("add", () => act("add"));
  sentence.addEventListener("input", changed);
  whole.addEventListener("input", () => { grow(); changed(); });

  const move = (label, by) => {
    const from = hub.regions.findIndex((region) => region.label === label), to = from + by;
    if (to < 0 || to >= hub.regions.length) return;
    hub.regions.splice(to, 0, ...hub.regions.splice(from, 1));
    arrange();
    hub.tell("regions");
    changed();
  };
  const field = (region, key, title, place) => {
    const row = make("div", "rg-field"), label = make("label", "", title), input = make("input");
    Object.assign(input, { type: "text", maxLength: 200, autocomplete: "off", spellcheck: false, placeholder: place, value: region[key], id: "rg-" + key + "-label-" + region.label });
    label.htmlFor = input.id;
    input.setAttribute("aria-label", region.name + " " + title);
    input.dataset.key = key;
    input.addEventListener("input", () => {
      const asked = Boolean(region.prompt.trim());
      region[key] = input.value;
      if (asked !== Boolean(region.prompt.trim())) hub.tell("regions"); // its room shows or goes
      changed();
    });
    row.append(label, input);
    return row;
  };
  const room = (region) => {
    const row = make("div", "rg-room"), label = make("label", "", "room"), slider = make("input"), said = make("span");
    // The slider is finer where the numbers are small.
    Object.assign(slider, { type: "range", min: 0, max: 20, step: 1, value: Math.round(Math.sqrt(2 * region.margin)), id: "rg-margin-" + region.label });
    label.htmlFor = slider.id;
    row.title = "How far beyond its mask the edit may reach: what it becomes may be larger than what it is";
    slider.setAttribute("aria-label", region.name + " room around its mask, in pixels");
    const tell = () => { said.textContent = region.margin ? `${region.margin} px beyond its mask` : "its mask alone"; slider.setAttribute("aria-valuetext", said.textContent); };
    slider.addEventListener("input", () => { region.margin = Math.round(slider.value ** 2 / 2); tell(); hub.tell("regions"); changed(); });
    tell();
    row.append(label, slider, said);
    return row;
  };
  const build = (region) => {
    const card = make("div", "rg-card"), top = make("div", "rg-card-head"), name = make("input", "rg-name"), swatch = make("label", "rg-swatch"), color = make("input");
    card.dataset.label = region.label;
    Object.assign(name, { type: "text", maxLength: 40, value: region.name, autocomplete: "off", spellcheck: false });
    name.setAttribute("aria-label", "Name of region " + region.label);
    name.addEventListener("input", () => { region.name = name.value; hub.tell("regions"); changed(); });
    Object.assign(color, { type: "color", value: region.color });
    color.setAttribute("aria-label", "Colour of " + region.name);
    const tinted = () => { card.style.setProperty("--region", region.color); swatch.replaceChildren(badge(region.label, region.color), color); };
    color.addEventListener("input", () => { region.color = color.value; tinted(); hub.tell("regions"); changed(); });
    if (isColor(region.color)) tinted();
    const tools = make("div", "rg-card-tools");
    const eye = iconButton("rg-mini", "eye", "Show or hide its mask", () => {
      hub.hidden.has(region.label) ? hub.hidden.delete(region.label) : hub.hidden.add(region.label);
      eye.replaceChildren(icon(hub.hidden.has(region.label) ? "blind" : "eye"));
      hub.tell("regions");
    });
    const up = iconButton("rg-mini", "up", "Above: it covers those below", () => move(region.label, -1)), down = iconButton("rg-mini", "down", "Below: those above cover it", () => move(region.label, 1));
    up.dataset.move = "up";
    down.dataset.move = "down";
    const bin = iconButton("rg-mini", "bin", "Delete this region", () => act("delete", region.label));
    bin.dataset.act = "delete";
    tools.append(eye, up, down, bin);
    top.append(swatch, name, tools);
    card.append(top, field(region, "source", "is now", "e.g. a cat"), field(region, "prompt", "becomes", "stays as it is"), room(region), make("p", "rg-covered"));
    card.addEventListener("pointerdown", () => { if (hub.active !== region.label) hub.tell("choose", region.label); });
    card.addEventListener("focusin", () => { if (hub.active !== region.label) hub.tell("choose", region.label); });
    return { card, region };
  };
  const arrange = () => {
    hub.regions.forEach((region, i) => {
      const { card } = cards.get(region.label);
      // Moving a card would take the cursor out of its field.
      if (column.children[i] !== card) column.insertBefore(card, column.children[i] ?? null);
      card.querySelector("[data-key=prompt]").id = "rg-prompt-" + i;
      card.querySelector("[data-key=source]").id = "rg-source-" + i;
      card.querySelectorAll(".rg-field label").forEach((label) => { label.htmlFor = label.nextSibling.id; });
      card.querySelector("[data-move=up]").disabled = i === 0;
      card.querySelector("[data-move=down]").disabled = i === hub.regions.length - 1;
    });
    empty.hidden = hub.regions.length > 0;
    choose();
  };
  const choose = () => { for (const [label, { card }] of cards) card.classList.toggle("rg-active", label === hub.active); };
  hub.on("choose", choose);
  hub.on("masks", () => {
    const editor = hub.editor;
    if (!editor?.clip || editor.id !== id) return;
    if (editor.rev !== have) { have = editor.rev; if (props.value) keep(); }
    for (const [label, { card }] of cards) {
      const entries = editor.masks.map((frame) => frame?.[label]), count = entries.filter((entry) => entry?.runs).length, keys = entries.filter((entry) => entry?.key).length;
      card.querySelector(".rg-covered").textContent = (count ? `Mask on ${count} of ${editor.clip.count} frames` : "No mask yet") + (keys ? `, ${keys} drawn by hand` : "");
    }
  });

  const take = (value) => {
    const text = JSON.stringify(value ?? null);
    if (text === taken) return;
    taken = text;
    root.hidden = !value;
    if (!value) return;
    add.disabled = Boolean(value.full);
    const fresh = id !== value.id || !cards.size;
    if (id !== value.id) { cards.clear(); column.replaceChildren(); sentence.value = value.source_prompt; whole.value = value.prompt; grow(); have = value.have; }
    id = value.id;
    const labels = value.regions.map((region) => region.label);
    if (!fresh && labels.join() === hub.regions.map((region) => region.label).join() && labels.every((label) => cards.has(label))) return;
    for (const label of [...cards.keys()]) if (!labels.includes(label)) { cards.get(label).card.remove(); cards.delete(label); }
    for (const region of value.regions) if (!cards.has(region.label)) cards.set(region.label, build({ ...region }));
    // Known cards keep what was typed, newer than what the server echoes.
    hub.regions = labels.map((label) => cards.get(label).region);
    arrange();
    hub.tell("regions");
    hub.tell("masks");
    keep();
  };
  take(props.value);
  watch("value", () => take(props.value));
}
