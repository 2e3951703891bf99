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
  for (const part of ["#list", ".filters nav"]) swap(document, fresh, part);
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

setTimeout(look, 1500);

// The chosen one may be far down the list.
document.querySelector(".row[aria-current]")?.scrollIntoView({block: "nearest"});
