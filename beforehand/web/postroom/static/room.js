// Keeps the list fresh, sends a customer's reply, presses a key. Without it the page reloads by itself.
const address = () => location.pathname + location.search;

async function refresh() {
  const answer = await fetch(address());
  if (!answer.ok) return location.assign("/");
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.body.dataset.version = fresh.body.dataset.version;
  const message = document.querySelector("#message");
  const other = fresh.querySelector("#message");
  for (const part of ["#list", ".filters nav"]) document.querySelector(part).replaceWith(fresh.querySelector(part));
  if (!message.dataset.n) return message.replaceWith(other);
  // The message being read stays where it is; only its way and its thread move on.
  if (message.dataset.n !== other.dataset.n) return mark(message.dataset.n);
  for (const part of ["#way", ".thread"]) {
    const old = message.querySelector(part);
    const next = other.querySelector(part);
    if (old && next && old.innerHTML !== next.innerHTML) old.replaceWith(next);
  }
}

function mark(n) {
  for (const row of document.querySelectorAll(".row")) {
    row.toggleAttribute("aria-current", new URL(row.href).searchParams.get("n") === n);
  }
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

setTimeout(look, 1500);
