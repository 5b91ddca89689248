// One record at a time: what is shown comes from the server, what a person says goes there at once. Until the server has it on
// disk a verdict lies in this browser's storage, under a key of its own, so that two tabs do not lose each other's. All text
// enters the page as text, never as markup.

const $ = (id) => document.getElementById(id);
const scope = document.body.dataset.scope;
const reasons = JSON.parse(document.body.dataset.reasons);
const RETRY = 1500; // milliseconds until a server that did not answer is asked again
const AHEAD = 2; // records that are fetched before they are wanted

let who = "";
let labels = {};
let records = []; // {n, verdict, stale}, in their order
let history = []; // places of records, in the order of the verdicts on them
let at = -1; // which record is shown; records.length is the end
let shown = null; // the record as the server gave it
let edits = {}; // by item, what was changed in the one shown
let digitsRow = 0; // which row of labels the digits choose in
let spent = 0; // milliseconds that the record was on the screen before `since`
let since = 0;
let sending = false;
let trouble = ""; // why the last sending failed
const cache = new Map(); // by place, a promise of a record

function make(tag, about = {}, ...children) {
  const node = Object.assign(document.createElement(tag), about);
  node.append(...children);
  return node;
}

// -- what this browser keeps

const memory = new Map(); // where the browser keeps nothing, the page does as long as it is open

function keep(key, value) {
  const name = `${scope}:${who}:${key}`;
  memory.set(name, value);
  try {
    localStorage.setItem(name, JSON.stringify(value));
    memory.delete(name);
  } catch {
    warn("This browser keeps nothing: do not close the page before it says saved.");
  }
}

function kept(key) {
  const name = `${scope}:${who}:${key}`;
  if (memory.has(name)) return memory.get(name);
  try {
    return JSON.parse(localStorage.getItem(name));
  } catch {
    return null;
  }
}

function drop(key) {
  memory.delete(`${scope}:${who}:${key}`);
  try { localStorage.removeItem(`${scope}:${who}:${key}`); } catch { /* nothing is there */ }
}

function waiting() {
  const start = `${scope}:${who}:queue:`;
  let names = [...memory.keys()];
  try { names = names.concat(Object.keys(localStorage)); } catch { /* memory alone */ }
  return [...new Set(names.filter((name) => name.startsWith(start)))].sort().map((name) => name.slice(`${scope}:${who}:`.length));
}

// -- saved or not

function warn(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

function status() {
  const left = waiting().length;
  const state = !left ? "saved" : trouble ? "waiting" : "saving";
  $("saved").dataset.state = state;
  $("saved").textContent = { saved: "saved", saving: "saving…", waiting: `${left} not saved yet` }[state];
  const many = left === 1 ? "1 verdict is" : `${left} verdicts are`;
  if (left && trouble) warn(`${trouble} ${many} kept in this browser and sent as soon as it can be.`);
  else if (!trouble) warn("");
}

async function ask(url, options = {}) {
  const answer = await fetch(url, { credentials: "same-origin", ...options });
  if (answer.ok) return answer.json();
  const text = await answer.text();
  let said = text;
  try { said = JSON.parse(text).error || text; } catch { /* words alone */ }
  throw Object.assign(new Error(said), { code: answer.status });
}

function failed(error) {
  if (!error.code) return "The server does not answer.";
  if (error.code === 403) return "The server does not know this page any more: open the address that its terminal shows.";
  return `The server cannot save: ${error.message}.`;
}

async function send() {
  if (sending) return;
  sending = true;
  status();
  for (let queue = waiting(); queue.length; queue = waiting()) {
    const said = kept(queue[0]);
    try {
      if (said) await ask("/api/verdict", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(said) });
      drop(queue[0]);
      trouble = "";
      if (said && said.verdict === "undo") await look_again(said.n).catch(() => {});
    } catch (error) {
      if (error.code && error.code < 500 && error.code !== 403) {
        // it will never be taken: it goes out of the way of the others, and stays in this browser
        keep(queue[0].replace("queue:", "refused:"), said);
        drop(queue[0]);
        trouble = "";
        status();
        warn(`A verdict was refused: ${error.message}. It stays in this browser; judge the record again.`);
        const row = records.find((one) => one.n === said.n);
        if (row) row.verdict = "";
        progress();
        continue;
      }
      trouble = failed(error);
      setTimeout(send, RETRY);
      break;
    }
  }
  sending = false;
  status();
}

async function look_again(n) {
  // what counts after an undo: nothing, or the verdict before
  cache.delete(n);
  const own = (await fetched(n)).own;
  const row = records.find((one) => one.n === n);
  if (row && !waiting().length) row.verdict = own ? own.verdict : "";
  progress();
}

// -- records

function fetched(n) {
  if (!cache.has(n)) {
    const asked = ask(`/api/record/${n}?reviewer=${encodeURIComponent(who)}`);
    cache.set(n, asked);
    asked.catch(() => cache.delete(n));
  }
  return cache.get(n);
}

function progress() {
  const judged = records.filter((one) => one.verdict && !one.stale).length;
  $("bar").max = records.length || 1;
  $("bar").value = judged;
  $("count").textContent = `${judged} of ${records.length}, ${records.length - judged} left`;
}

function view(name) {
  for (const one of ["name-view", "record-view", "done-view"]) $(one).hidden = one !== name;
  $("actions").hidden = $("saved").hidden = name === "name-view";
  for (const id of ["accept", "edit", "reject", "next"]) $(id).disabled = name !== "record-view";
}

async function show(place) {
  remember_time();
  shown = null; // until it is there, keys say nothing of the one before
  at = Math.max(0, Math.min(place, records.length));
  $("clip").querySelectorAll("video, audio").forEach((one) => one.pause());
  if (at === records.length) return done();
  const here = at;
  let one;
  try {
    one = await fetched(records[at].n);
  } catch (error) {
    if (at !== here) return;
    trouble = failed(error);
    status();
    warn(`${failed(error)} ${waiting().length ? "What you said is kept in this browser; the" : "The"} next record is shown as soon as it can be.`);
    $("record-view").classList.add("away");
    setTimeout(() => at === here && !shown && show(here), RETRY);
    return;
  }
  if (at !== here) return;
  shown = one;
  trouble = waiting().length ? trouble : "";
  status();
  const draft = kept(`draft:${one.n}`);
  edits = draft && draft.seen === one.seen ? draft.edits : { ...(one.own ? one.own.edits : {}) };
  view("record-view");
  $("record-view").classList.remove("away");
  draw(Boolean(draft && draft.seen === one.seen));
  spent = 0;
  since = document.hidden ? 0 : performance.now();
  scrollTo(0, 0);
  if (document.activeElement && document.activeElement !== document.body) document.activeElement.blur();
  for (const next of records.slice(at + 1, at + 1 + AHEAD)) fetched(next.n).catch(() => {});
}

function done() {
  shown = null;
  const count = (name) => records.filter((one) => one.verdict === name && !one.stale).length;
  const judged = count("accept") + count("edit") + count("reject");
  if (judged < records.length) {
    at = records.findIndex((one) => !one.verdict || one.stale);
    return show(at);
  }
  $("done-count").textContent = `You have judged all ${records.length} records.`;
  $("done-kinds").textContent = `${count("accept")} accepted, ${count("edit")} edited, ${count("reject")} rejected.`;
  $("agreement").href = `/agreement?reviewer=${encodeURIComponent(who)}`;
  view("done-view");
}

function remember_time() {
  if (since) spent += performance.now() - since;
  since = 0;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) remember_time();
  else if (shown) since = performance.now();
});

// -- what is seen

function draw(drafted) {
  draw_clip();
  const row = records[at];
  $("place").textContent = `Record ${at + 1} of ${records.length}.`;
  const said = { accept: "You accepted it.", edit: "You edited it.", reject: "You rejected it" }[row.verdict] || "";
  const why = row.verdict === "reject" ? `${shown.own && shown.own.reason ? `: ${shown.own.reason}` : ""}.` : "";
  $("own").textContent = row.stale ? "It has changed since you judged it." : drafted ? "Your unsaved edit is back." : said + why;
  $("subtitle").textContent = shown.subtitle;
  $("subtitle").hidden = !shown.subtitle;
  $("rejected").hidden = !shown.rejected;
  if (shown.rejected) $("rejected").textContent = `${shown.rejected.by || "An annotator"} rejected this clip: ${shown.rejected.reason}. Accept: it is left out rightly. Reject: it should be used.`;
  draw_items();
  $("findings").replaceChildren(...shown.findings.map(finding));
  if (!shown.findings.length) $("findings").append(make("p", { textContent: "None." }));
}

function draw_clip() {
  const of = shown;
  const part = of.start !== null || of.end !== null ? `#t=${of.start ?? 0}${of.end !== null ? `,${of.end}` : ""}` : "";
  const onerror = (event) => event.target.isConnected && strip(of, event.target);
  const nodes = of.media.map((kind) => {
    const src = `/media/${of.n}/${kind}${kind === "image" ? "" : part}`;
    if (kind === "image") return make("img", { src, alt: "the picture", onerror });
    return make(kind, { src, controls: true, preload: "auto", playsInline: true, autoplay: plays(), onerror });
  });
  $("clip").replaceChildren(...nodes);
  $("strip").hidden = true;
  $("strip-note").hidden = true;
  $("strip").onload = $("strip").onerror = null;
  $("strip").removeAttribute("src");
  if (!of.media.length) strip(of, null);
}

function strip(of, node) {
  // what the browser cannot play is shown as frames
  if (node) node.remove();
  $("strip-note").textContent = node ? "This browser cannot play the file. Some frames of it:" : "There is nothing to play.";
  $("strip-note").hidden = false;
  if (!of.strip) return;
  $("strip").onload = () => { $("strip").hidden = of !== shown; };
  $("strip").onerror = () => no_clip(of);
  $("strip").src = `/strip/${of.n}`;
}

async function no_clip(of) {
  // neither the clip nor its frames came: the server has none, or is gone and has it when it is back
  for (let waited = false; of === shown; waited = true) {
    const there = await fetch(`/strip/${of.n}`).then(() => true, () => false);
    if (of !== shown) return;
    if (there && waited) return draw_clip();
    $("strip-note").textContent = there ? "The clip is not there, or cannot be read." : "The clip comes when the server is back.";
    if (there) return;
    await new Promise((resolve) => setTimeout(resolve, RETRY));
  }
}

function finding(one) {
  const about = [one.source.piece, one.source.model].filter(Boolean).join(", ");
  const list = make("dl");
  for (const [name, value] of Object.entries(one.values)) list.append(make("dt", { textContent: name }), shape(value));
  return make("section", {}, make("div", { className: "head" }, make("b", { textContent: one.annotator }), make("span", { textContent: about })), list);
}

function short(value) {
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(4)));
  return typeof value === "string" ? value : JSON.stringify(value);
}

function shape(value) {
  if (Array.isArray(value)) return make("dd", { textContent: value.map(short).join(", ") || "–" });
  if (value === null || value === "") return make("dd", { textContent: "–" });
  if (typeof value !== "object") return make("dd", { textContent: short(value) });
  const parts = Object.entries(value).map(([name, inner]) => make("span", {}, make("i", { textContent: `${name} ` }), short(inner)));
  return make("dd", { className: "parts" }, ...parts);
}

// -- items

function current(item) {
  return item.name in edits ? edits[item.name] : item.value;
}

function change(item, value) {
  const same = JSON.stringify(value) === JSON.stringify(item.value);
  const empty = typeof value === "string" && !value.trim();
  if (same || empty) delete edits[item.name];
  else edits[item.name] = value;
  keep(`draft:${shown.n}`, { seen: shown.seen, edits });
  const mark = document.querySelector(`[data-item="${CSS.escape(item.name)}"] .changed`);
  if (mark) mark.hidden = !(item.name in edits);
}

function grow(area) {
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + 2}px`;
}

function text_area(text, name, store) {
  const area = make("textarea", { value: text, rows: 1, oninput: () => { grow(area); store(area.value); } });
  area.setAttribute("aria-label", name);
  return area;
}

const FORMS = {
  text: (item) => text_area(current(item), item.name, (text) => change(item, text)),
  fixed: (item) => make("pre", { textContent: JSON.stringify(item.value, null, 1) }),
  label(item) {
    const row = make("div", { className: "labels" });
    const names = [...new Set([...(labels[item.name] || []), item.value])];
    const buttons = names.map((name, i) => {
      const digit = i < 9 ? [make("kbd", { textContent: i + 1 }), " "] : [];
      const button = make("button", { type: "button", value: name, onclick: (event) => { choose(name); if (event.detail) button.blur(); } }, ...digit, name);
      return button;
    });
    const other = make("input", { placeholder: "other", oninput: () => { change(item, other.value.trim()); mark(); } });
    other.setAttribute("aria-label", `another ${item.name}`);
    function mark() { buttons.forEach((one) => one.setAttribute("aria-pressed", one.value === current(item))); }
    function choose(name) { other.value = ""; change(item, name); mark(); }
    if (!names.includes(current(item))) other.value = current(item);
    mark();
    row.choose = (digit) => names[digit - 1] && choose(names[digit - 1]);
    row.append(...buttons, other);
    return row;
  },
  turns(item) {
    const value = current(item).map((turn) => [...turn]);
    const store = () => change(item, value.map((turn) => [...turn]));
    return make("div", {}, ...value.map((turn, i) => make("div", { className: "turn" },
      make("label", { textContent: "Q" }), text_area(turn[0], `question ${i + 1}`, (text) => { turn[0] = text; store(); }),
      make("label", { textContent: "A" }), text_area(turn[1], `answer ${i + 1}`, (text) => { turn[1] = text; store(); }))));
  },
};

function draw_items() {
  digitsRow = 0;
  $("items").replaceChildren(...shown.items.map((item) => {
    const changed = make("span", { className: "changed", textContent: "changed", hidden: !(item.name in edits) });
    const head = make("div", { className: "head" }, make("b", { textContent: item.name }), make("span", { textContent: item.question || item.task }), changed);
    const box = make("section", {}, head, FORMS[item.form](item));
    box.dataset.item = item.name;
    return box;
  }));
  if (!shown.items.length) $("items").append(make("p", { textContent: "No items." }));
  document.querySelectorAll("#items textarea").forEach(grow);
  mark_row();
}

function rows() { return [...document.querySelectorAll("#items .labels")]; }

function mark_row() {
  rows().forEach((row, i, all) => row.classList.toggle("digits-here", all.length > 1 && i === digitsRow));
}

addEventListener("resize", () => document.querySelectorAll("#items textarea").forEach(grow));

// -- verdicts

function give(verdict, reason = "") {
  if (!shown) return;
  remember_time();
  const changed = verdict === "accept" && Object.keys(edits).length > 0;
  const said = { verdict: changed ? "edit" : verdict, edits: changed ? edits : {}, reason };
  push({ ...said, n: shown.n, seen: shown.seen, seconds: Math.min(spent / 1000, 86400) });
  records[at].verdict = said.verdict;
  records[at].stale = false;
  history.push(shown.n);
  cache.set(shown.n, Promise.resolve({ ...shown, own: said }));
  drop(`draft:${shown.n}`);
  progress();
  const open = (one) => !one.verdict || one.stale;
  const later = records.findIndex((one, i) => i > at && open(one));
  const any = later >= 0 ? later : records.findIndex(open);
  show(any >= 0 ? any : records.length);
  send();
}

function push(said) {
  const key = `${Date.now().toString(36).padStart(10, "0")}-${String(count_up()).padStart(6, "0")}-${Math.random().toString(36).slice(2, 10)}`;
  keep(`queue:${key}`, { ...said, reviewer: who, key });
}

let counted = 0;
function count_up() { return (counted += 1); }

async function undo() {
  if (!history.length) return;
  const n = history.pop();
  const place = records.findIndex((one) => one.n === n);
  push({ n, verdict: "undo", seen: "", seconds: 0 });
  const before = await fetched(n).catch(() => null);
  if (before && before.own && before.own.verdict === "edit") keep(`draft:${n}`, { seen: before.seen, edits: before.own.edits });
  if (before) cache.set(n, Promise.resolve({ ...before, own: null }));
  records[place].verdict = "";
  progress();
  show(place);
  send();
}

function first_text() {
  const area = document.querySelector("#items textarea") || document.querySelector("#items .labels input");
  if (!area) return;
  area.focus();
  area.setSelectionRange(area.value.length, area.value.length);
}

function play() {
  const one = $("clip").querySelector("video, audio");
  if (!one) return;
  if (!one.paused) return one.pause();
  const end = shown.end ?? one.duration;
  if (one.currentTime >= end - 0.05) one.currentTime = shown.start ?? 0;
  one.play().catch(() => {});
}

function plays() {
  try { return localStorage.getItem("autoplay") === "on"; } catch { return false; }
}

function autoplay() {
  const on = !plays();
  try { localStorage.setItem("autoplay", on ? "on" : "off"); } catch { /* for this page it stays as it is */ }
  $("autoplay").textContent = on ? "on" : "off";
  if (on) play();
}

// -- keys

function ask_reason() {
  if (!shown) return;
  $("reason").value = "";
  $("reject-dialog").showModal();
  document.activeElement.blur();
}

function reject(reason) {
  $("reject-dialog").close();
  give("reject", reason);
}

$("reasons").append(...reasons.map((reason, i) => make("button", { type: "button", onclick: () => reject(reason) }, make("kbd", { textContent: i + 1 }), ` ${reason}`)));
$("reason-form").onsubmit = (event) => {
  event.preventDefault();
  if ($("reason").value.trim()) reject($("reason").value.trim());
};

const ACTIONS = {
  a: () => give("accept"),
  e: first_text,
  r: ask_reason,
  u: undo,
  j: () => shown && show(at + 1),
  k: () => show(at - 1),
  arrowright: () => ACTIONS.j(),
  arrowleft: () => ACTIONS.k(),
  " ": play,
  p: autoplay,
  l: () => { digitsRow = (digitsRow + 1) % Math.max(1, rows().length); mark_row(); },
  "?": () => $("help").showModal(),
};

function key_of(event) {
  // on a keyboard with other letters (Cyrillic, Greek) the place of the key counts
  if (event.key.length === 1 && event.key > "~" && event.code.startsWith("Key")) return event.code.slice(3).toLowerCase();
  return event.key.toLowerCase();
}

document.addEventListener("keydown", (event) => {
  if (event.isComposing || !who) return;
  const typing = event.target.matches("textarea, input");
  const key = key_of(event);
  if ($("reject-dialog").open) {
    if (typing) return;
    const digit = Number(event.key);
    if (digit && reasons[digit - 1]) { event.preventDefault(); reject(reasons[digit - 1]); }
    else if (event.key.length === 1 && /\p{L}/u.test(event.key) && !event.ctrlKey && !event.metaKey) $("reason").focus();
    return;
  }
  if ($("help").open) {
    if (key === "?") { event.preventDefault(); $("help").close(); }
    return;
  }
  if ((event.ctrlKey || event.metaKey) && key === "enter") {
    if (shown) { event.preventDefault(); give("accept"); }
    return;
  }
  if (typing) {
    if (key === "escape") event.target.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("button, a") && (key === " " || key === "enter")) return; // it is pressed
  const row = rows()[digitsRow];
  if (/^[1-9]$/.test(key) && row) row.choose(Number(key));
  else if (ACTIONS[key]) ACTIONS[key]();
  else return;
  event.preventDefault();
}, true);

const BUTTONS = { accept: "a", edit: "e", reject: "r", undo: "u", previous: "k", next: "j", keys: "?" };
for (const [id, key] of Object.entries(BUTTONS)) {
  $(id).onclick = (event) => {
    if (event.detail) $(id).blur(); // so that the space bar plays again
    if (who) ACTIONS[key]();
  };
}

// -- who

async function start(name) {
  const found = await ask(`/api/overview?reviewer=${encodeURIComponent(name)}`);
  who = name;
  ({ records, labels } = found);
  history = found.order;
  cache.clear();
  for (const said of waiting().map(kept)) {
    const row = said && records.find((one) => one.n === said.n);
    if (row) Object.assign(row, { verdict: said.verdict === "undo" ? "" : said.verdict, stale: false });
  }
  try {
    sessionStorage.setItem(`${scope}:who`, who);
    localStorage.setItem(`${scope}:last`, who);
  } catch { /* the name is asked for again */ }
  $("who").textContent = who;
  $("who").hidden = false;
  $("who").disabled = Boolean(document.body.dataset.reviewer);
  progress();
  const open = records.findIndex((one) => !one.verdict || one.stale);
  await show(open >= 0 ? open : records.length);
  send();
}

function ask_name(error = "") {
  who = "";
  shown = null;
  view("name-view");
  $("who").hidden = true;
  $("name-error").textContent = error;
  $("name").focus();
}

$("name-form").onsubmit = (event) => {
  event.preventDefault();
  start($("name").value.trim()).catch((error) => ask_name(error.code ? error.message : failed(error)));
};
$("who").onclick = () => ask_name();
$("autoplay").textContent = plays() ? "on" : "off";

{
  let name = document.body.dataset.reviewer;
  try {
    name = name || sessionStorage.getItem(`${scope}:who`) || "";
    $("name").value = localStorage.getItem(`${scope}:last`) || "";
  } catch { /* the name is asked for */ }
  if (name) start(name).catch((error) => ask_name(error.code ? error.message : failed(error)));
  else ask_name();
}
