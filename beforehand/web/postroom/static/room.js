// Keeps the list fresh, sends a customer's reply, presses a key. Without it the page reloads by itself.
// Asks for the message that is being read, so that a newer one does not take its place.
function address() {
  const url = new URL(location.href);
  const n = document.querySelector("#message").dataset.n;
  if (n) url.searchParams.set("n", n);
  return url;
}

async function refresh() {
  const answer = await fetch(address());
  if (!answer.ok) return location.assign("/");
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.body.dataset.version = fresh.body.dataset.version;
  for (const part of ["#list", ".filters nav", "#drill summary", "#drill section"]) swap(document, fresh, part);
  const message = document.querySelector("#message");
  const other = fresh.querySelector("#message");
  if (!message.dataset.n) return message.replaceWith(other);
  for (const part of ["#way", ".thread"]) swap(message, other, part);
}

function swap(here, there, part) {
  const old = here.querySelector(part);
  const next = there.querySelector(part);
  if (!old || !next || old.innerHTML === next.innerHTML) return;
  const scrolled = old.scrollTop;
  old.replaceWith(next);
  next.scrollTop = scrolled;
}

async function look() {
  try {
    const pulse = await (await fetch("/post-room/ledger.json?limit=0")).json();
    if (String(pulse.version) !== document.body.dataset.version) await refresh();
  } catch { /* The post room is closed; it may open again. */ }
  setTimeout(look, 1500);
}

const post = (path, values) => fetch(path, {
  method: "POST",
  headers: {"content-type": "application/json"},
  body: JSON.stringify(values),
});

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form.reply");
  if (!form) return;
  event.preventDefault();
  await post("/post-room/inbound", {from: form.dataset.from, to: form.dataset.to, body: form.elements.body.value});
  form.reset();
  await refresh();
});

document.addEventListener("click", async (event) => {
  const key = event.target.closest(".keys button");
  if (!key) return;
  await post("/post-room/press", {sid: key.parentElement.dataset.sid, digits: key.value});
  await refresh();
});

// The drill: only what can happen at the chosen place is offered.
const fault = document.querySelector("form.fault");

function fit() {
  const where = fault.elements.where.value;
  const what = fault.elements.what;
  for (const option of what.options) option.hidden = option.disabled = !option.dataset.where.split(" ").includes(where);
  if (what.selectedOptions[0]?.disabled) what.value = [...what.options].find((option) => !option.disabled).value;
  for (const label of fault.querySelectorAll("[data-for]")) label.hidden = !label.dataset.for.split(" ").includes(where);
}

async function plan(event) {
  event.preventDefault();
  const said = fault.elements;
  const values = {where: said.where.value, what: said.what.value, times: +said.times.value, seconds: +said.seconds.value};
  if (said.to.value) values.to = said.to.value;
  if (values.where === "mail") values.phase = said.phase.value;
  if (!said.accepted.closest("label").hidden) values.accepted = said.accepted.checked;
  const answer = await post("/post-room/faults", values);
  const wrong = fault.querySelector("output");
  wrong.hidden = answer.ok;
  if (!answer.ok) wrong.value = String((await answer.json()).detail);
  await refresh();
}

fault.addEventListener("change", fit);
fault.addEventListener("submit", plan);
fault.querySelector("[value=clear]").addEventListener("click", async () => {
  await fetch("/post-room/faults", {method: "DELETE"});
  await refresh();
});
document.querySelector("form.fate").addEventListener("submit", async (event) => {
  event.preventDefault();
  await post("/post-room/fate", Object.fromEntries(new FormData(event.target)));
  location.reload();
});
fit();

setTimeout(look, 1500);

// The chosen one may be far down the list.
document.querySelector(".row[aria-current]")?.scrollIntoView({block: "nearest"});
