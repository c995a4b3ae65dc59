"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const PLACE = `keepgain-review-${data.export}`;
  const SIDES = ["left", "right"], CHOICES = ["left", "tie", "right"], STEPS = [1, 2, 3, 4, 5];
  const questions = Object.entries(data.rubric);
  const cells = questions.flatMap(([name]) => SIDES.map((side) => [side, name]));
  let rater = null, done = {}, now = 0;

  // -- what was chosen, and where it is kept ----------------------------------------------------

  function stored(key) {
    try { return localStorage.getItem(key); } catch { return null; }
  }

  function save() {
    const text = JSON.stringify({ done, now });
    try {
      localStorage.setItem(`${PLACE}/${rater}`, text);
      localStorage.setItem(PLACE, rater);
      if (localStorage.getItem(`${PLACE}/${rater}`) !== text) throw new Error("not kept");
      at("saved").textContent = `Saved in this browser, ${new Date().toLocaleTimeString()}`;
    } catch {
      at("saved").textContent = "NOT saved: this browser keeps nothing. Download before you close the page.";
    }
  }

  function resume(name) {
    rater = name;
    done = {};
    now = 0;
    try {
      const found = JSON.parse(stored(`${PLACE}/${name}`) ?? "{}");
      for (const item of data.items) if (found.done?.[item.id]) done[item.id] = found.done[item.id];
      if (Number.isInteger(found.now) && data.items[found.now]) now = found.now;
    } catch { /* another page's text under our name: begin anew */ }
    at("begin").hidden = true;
    at("top").hidden = at("item").hidden = false;
    at("who").textContent = `Rater: ${name}`;
    save();
    show();
  }

  function leave() {
    at("begin").hidden = false;
    at("top").hidden = at("item").hidden = true;
    rater = null;
    at("name").value = "";
    at("name").focus();
  }

  const of = (item) => done[item.id] ?? { preference: null, scores: { left: {}, right: {} } };
  const own = (scores, name) => Object.hasOwn(scores, name) ? scores[name] : null;
  const value = (said, field) => field === 0 ? said.preference : own(said.scores[cells[field - 1][0]], cells[field - 1][1]);
  const fields = () => [0, ...cells.map((_, n) => n + 1)];
  const open = (item) => fields().find((field) => value(of(item), field) == null);
  const complete = (item) => open(item) === undefined;
  const count = () => data.items.filter(complete).length;

  function set(field, given) {
    const item = data.items[now], said = structuredClone(of(item)), was = complete(item);
    if (field === 0) said.preference = given;
    else if (given == null) delete said.scores[cells[field - 1][0]][cells[field - 1][1]];
    else said.scores[cells[field - 1][0]][cells[field - 1][1]] = given;
    done[item.id] = said;
    if (!was && complete(item)) {
      const after = data.items.map((_, n) => (now + 1 + n) % data.items.length);
      const next = after.find((n) => !complete(data.items[n]));
      if (next !== undefined) { now = next; save(); show(); scrollTo(0, 0); return; }
    }
    save();
    show();
  }

  function back() {
    const item = data.items[now];
    const last = fields().filter((field) => value(of(item), field) != null).pop();
    if (last !== undefined) set(last, null);
  }

  function turn(step) {
    now = Math.min(data.items.length - 1, Math.max(0, now + step));
    save();
    show();
    scrollTo(0, 0);
  }

  // -- what is shown ----------------------------------------------------------------------------

  function build() {
    const items = data.items.length;
    at("about").textContent = `${items} ${items === 1 ? "question" : "questions"}, each with two answers.`
      + (questions.length ? " Each answer then gets scores from 1 to 5." : "");
    for (const part of document.querySelectorAll(".instructions")) {
      part.textContent = data.instructions;
      part.hidden = !data.instructions;
    }
    if (!questions.length) return;
    const table = document.createElement("table"), head = table.createTHead().insertRow();
    for (const title of ["1 is worst, 5 is best", "Left", "Right"]) {
      const cell = document.createElement("th");
      cell.textContent = title;
      cell.scope = "col";
      head.append(cell);
    }
    const body = table.createTBody();
    questions.forEach(([name, question], row) => {
      const line = body.insertRow(), asked = document.createElement("th");
      asked.textContent = question;
      asked.scope = "row";
      line.append(asked);
      SIDES.forEach((side, column) => {
        const cell = line.insertCell(), field = 1 + row * SIDES.length + column;
        cell.id = `field-${field}`;
        cell.dataset.side = side === "left" ? "Left" : "Right";
        for (const step of STEPS) {
          const button = document.createElement("button");
          button.textContent = step;
          button.setAttribute("aria-label", `${cell.dataset.side}, ${question} ${step} of 5`);
          button.addEventListener("click", () => set(field, step));
          cell.append(button);
        }
      });
    });
    for (const step of STEPS) {
      const button = document.createElement("button");
      button.textContent = step;
      button.addEventListener("click", () => set(open(data.items[now]), step));
      at("steps").append(button);
    }
    at("rubric").className = "card";
    at("rubric").append(table);
    at("rubric").hidden = false;
  }

  function show() {
    const item = data.items[now], said = of(item), field = open(item), all = count(), total = data.items.length;
    for (const part of ["question", "reference", ...SIDES]) at(part).textContent = item[part];
    at("reference-part").hidden = !item.reference;
    for (const choice of CHOICES) at(`prefer-${choice}`).setAttribute("aria-pressed", said.preference === choice);
    for (const side of SIDES) at(`${side}-card`).classList.toggle("preferred", said.preference === side);
    document.querySelector(".choose").classList.toggle("now", field === 0);
    cells.forEach(([side, name], n) => {
      const cell = at(`field-${n + 1}`);
      cell.classList.toggle("now", field === n + 1);
      [...cell.children].forEach((b, step) => b.setAttribute("aria-pressed", own(said.scores[side], name) === step + 1));
    });
    at("ask").hidden = !(field > 0);
    if (field > 0) {
      const [side, name] = cells[field - 1];
      at("asked").textContent = `${side === "left" ? "Left" : "Right"}: ${data.rubric[name]}`;
    }
    at("progress").textContent = `${all} of ${total} done`;
    at("bar").value = all / total;
    at("place").textContent = `${now + 1} / ${total}`;
    at("previous").disabled = now === 0;
    at("next").disabled = now === total - 1;
    at("download").textContent = all === total ? "Download ratings" : `Download as it is (partial: ${total - all} left)`;
    at("download").classList.toggle("ready", all === total);
    document.documentElement.dataset.ready = "yes";
  }

  // -- the file ---------------------------------------------------------------------------------

  function download() {
    const rated = data.items.filter(complete), whole = rated.length === data.items.length;
    const lines = rated.map((item) => JSON.stringify({
      export: data.export, rater, item: item.id, preference: of(item).preference,
      ...(questions.length ? { scores: of(item).scores } : {}),
      ...(whole ? {} : { partial: true }),
    }));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.map((l) => `${l}\n`).join("")], { type: "application/jsonl" }));
    const name = rater.replace(/[^\p{L}\p{N}_-]+/gu, "-");
    link.download = `ratings-${data.export}-${name}${whole ? "" : "-partial"}.jsonl`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  // -- keys -------------------------------------------------------------------------------------

  const KEYS = { ArrowLeft: () => set(0, "left"), ArrowRight: () => set(0, "right"), t: () => set(0, "tie"),
    n: () => turn(1), p: () => turn(-1), Backspace: back };

  function digit(step) {
    const field = open(data.items[now]) ?? (questions.length ? undefined : 0);
    if (field === 0 && step <= CHOICES.length) set(0, CHOICES[step - 1]);
    else if (field > 0 && step <= STEPS.length) set(field, step);
  }

  document.addEventListener("keydown", (event) => {
    if (rater === null || at("keys").open || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.repeat && !/^[np]$/.test(event.key)) return; // a key that is held down rates one item
    if (event.key === "?") at("keys").showModal();
    else if (/^[1-9]$/.test(event.key)) digit(Number(event.key));
    else if (KEYS[event.key]) KEYS[event.key]();
    else return;
    event.preventDefault();
  });
  for (const choice of CHOICES) at(`prefer-${choice}`).addEventListener("click", () => set(0, choice));
  at("previous").addEventListener("click", () => turn(-1));
  at("next").addEventListener("click", () => turn(1));
  at("help").addEventListener("click", () => at("keys").showModal());
  at("who").addEventListener("click", leave);
  at("download").addEventListener("click", download);
  at("enter").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = at("name").value.trim();
    if (name) resume(name);
  });

  // Another tab of this browser goes on under the same name: what it has saved is not overwritten.
  addEventListener("storage", (event) => {
    if (rater !== null && event.key === `${PLACE}/${rater}` && event.newValue) resume(rater);
  });

  build();
  const last = stored(PLACE);
  if (last) resume(last);
  else leave();
  document.documentElement.dataset.ready = "yes";
})();
