// Says how long ago each moment is. The page itself names the moments: what it says stays true, and
// a browser may keep it for as long as nothing new has happened.
const MINUTE_S = 60;
const HOUR_S = 60 * MINUTE_S;
const DAY_S = 24 * HOUR_S;

export function tellTime() {
  const language = document.documentElement.lang;
  const now = Date.now() / 1000;
  for (const place of document.querySelectorAll("time[data-ago]")) {
    const seconds = Math.max(0, now - Date.parse(place.dateTime) / 1000);
    place.dataset.when ??= place.textContent;
    const text = said(place.dataset.ago, place.dataset.when, seconds, language);
    if (place.textContent !== text) place.textContent = text;
    if (place.dataset.ago === "instead") place.title = place.dataset.when;
  }
}

function said(how, when, seconds, language) {
  if (how === "for") return lasted(seconds, language);
  const gone = ago(seconds, language);
  return how === "beside" ? `${when} (${gone})` : gone;
}

function ago(seconds, language) {
  if (seconds < MINUTE_S) return new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(0, "second");
  const [n, unit] = counted(seconds, 1);
  return new Intl.RelativeTimeFormat(language).format(-n, unit);
}

function lasted(seconds, language) {
  const [n, unit] = counted(seconds, 10);
  return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long" }).format(n);
}

// In whole minutes (or so many at a time), then hours, then from two days on days.
function counted(seconds, minutes) {
  if (seconds >= 2 * DAY_S) return [Math.floor(seconds / DAY_S), "day"];
  if (seconds >= HOUR_S) return [Math.floor(seconds / HOUR_S), "hour"];
  return [Math.max(1, Math.floor(seconds / (minutes * MINUTE_S))) * minutes, "minute"];
}
