// Keeps the page true: asks for the pulse, and when it changed brings the page anew in place.
const CALM_MS = 15_000;
const WAITING_MS = 2_000;
const RETRY_MS = 10_000;

export function watch(restart) {
  if (document.querySelector("#retry")) {
    setTimeout(() => location.reload(), RETRY_MS);
    return;
  }
  const waiting = document.querySelector("#waiting");
  if (!waiting && !document.querySelector(".tiles")) return;
  let last = null;
  let awaySince = null;

  async function look() {
    try {
      const response = await fetch("/api/q/pulse", { headers: { Accept: "application/json" } });
      if (!response.ok) throw new Error(String(response.status));
      const pulse = await response.text();
      if (awaySince !== null) say("");
      awaySince = null;
      if (last !== null && pulse !== last) await renew(waiting, restart);
      // The page may be older than the first pulse: a waiting page is renewed at once.
      else if (last === null && waiting && JSON.parse(pulse).probes.some((p) => p.runCount > 0)) {
        location.reload();
      }
      last = pulse;
    } catch {
      awaySince ??= new Date();
      const when = awaySince.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      say(document.querySelector("#live").dataset.away.replace("{when}", when), "away");
    }
    schedule();
  }

  function schedule() {
    setTimeout(() => (document.hidden ? onceVisible(look) : look()), waiting ? WAITING_MS : CALM_MS);
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

async function renew(waiting, restart) {
  if (waiting) {
    location.reload();
    return;
  }
  const page = await fetchPage();
  if (page.documentElement.dataset.assets !== document.documentElement.dataset.assets) {
    location.reload();
    return;
  }
  const open = document.querySelector(".numbers")?.open ?? false;
  for (const part of ["#content", "header.bar"]) {
    const fresh = page.querySelector(part);
    if (!fresh) throw new Error("the page has changed its shape");
    document.querySelector(part).replaceWith(document.adoptNode(fresh));
  }
  const numbers = document.querySelector(".numbers");
  if (numbers) numbers.open = open;
  document.title = page.title;
  say(document.querySelector("#live").dataset.updated);
  setTimeout(() => say(""), 6000);
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
