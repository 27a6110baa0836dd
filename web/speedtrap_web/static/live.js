// Keeps the page true: asks for the mark of graph's state, and when it is another one brings the
// page anew in place.
const WAITING_MS = 2_000;
const RETRY_MS = 10_000;

export function watch(restart) {
  if (document.querySelector("#retry")) {
    setTimeout(() => location.reload(), RETRY_MS);
    return;
  }
  const root = document.documentElement;
  if (!root.dataset.changes) return;
  const calmMs = Number(root.dataset.liveEveryS) * 1000;
  let awaySince = null;

  async function look() {
    try {
      const response = await fetch("/api/q/changes", { headers: { Accept: "application/json" } });
      if (!response.ok) throw new Error(String(response.status));
      const { changes } = await response.json();
      if (awaySince !== null) say("");
      awaySince = null;
      if (document.querySelector("#stale")) location.reload();
      else if (changes !== root.dataset.changes) await renew(restart);
    } catch {
      awaySince ??= new Date();
      // A kept page says by itself how old it is.
      if (document.querySelector("#stale")) return schedule();
      const when = awaySince.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      say(document.querySelector("#live").dataset.away.replace("{when}", when), "away");
    }
    schedule();
  }

  function schedule() {
    const pause = document.querySelector("#waiting") ? Math.min(WAITING_MS, calmMs) : calmMs;
    setTimeout(() => (document.hidden ? onceVisible(look) : look()), pause);
  }

  look();
}

function onceVisible(then) {
  document.addEventListener("visibilitychange", () => then(), { once: true });
}

function say(text, kind = "") {
  const line = document.querySelector("#live");
  line.textContent = text;
  line.className = `live ${kind}`;
}

async function renew(restart) {
  // Whoever is writing something is not interrupted.
  if (document.activeElement?.matches("input, textarea, select")) return;
  const page = await fetchPage();
  const root = document.documentElement;
  const waiting = document.querySelector("#waiting") !== null;
  if (page.documentElement.dataset.assets !== root.dataset.assets || (waiting && !page.querySelector("#waiting"))) {
    location.reload();
    return;
  }
  const open = [...document.querySelectorAll("details[open]")].map((part) => part.className);
  for (const part of ["#content", "header.bar"]) {
    const fresh = page.querySelector(part);
    if (!fresh) throw new Error("the page has changed its shape");
    document.querySelector(part).replaceWith(document.adoptNode(fresh));
  }
  for (const part of document.querySelectorAll("details")) part.open ||= open.includes(part.className);
  root.dataset.changes = page.documentElement.dataset.changes;
  document.title = page.title;
  if (!waiting) {
    say(document.querySelector("#live").dataset.updated);
    setTimeout(() => say(""), 6000);
  }
  restart();
}

// An XMLHttpRequest parses the answer into a document by itself: no HTML passes through script.
function fetchPage() {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.responseType = "document";
    request.open("GET", location.href);
    request.onload = () =>
      request.status === 200 && request.response ? resolve(request.response) : reject(new Error());
    request.onerror = () => reject(new Error());
    request.send();
  });
}
