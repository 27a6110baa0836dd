// The live chart: uPlot gives scales, axes, cursor and zoom; the drawing is done here, because
// empty buckets must stay open and outages have a row of their own.
const DAY_S = 86400;
let shown = null;

export async function drawChart() {
  const place = document.querySelector("#chart");
  if (!place || !window.uPlot) return;
  const facts = JSON.parse(place.dataset.facts);
  const words = facts.words;
  let history;
  try {
    history = await ask(facts);
  } catch {
    document.querySelector("#chart-read").textContent = words["chart.failed"];
    return;
  }
  shown?.stop();
  shown = show(place, facts, history);
}

async function ask(facts) {
  const response = await fetch(`/api/q/history?${new URLSearchParams(facts.question)}`);
  if (!response.ok) throw new Error(String(response.status));
  return response.json();
}

function show(place, facts, { trend, detail }) {
  const words = facts.words;
  const format = formats(facts);
  const since = Date.parse(facts.question.since) / 1000;
  const until = Date.parse(facts.question.until) / 1000;
  const bounds = trend.subscribedMbps.map((s) => facts.aboveMs ?? facts.belowMbps ?? (facts.belowRatio && s ? Number((facts.belowRatio * s).toPrecision(12)) : null));
  const centres = trend.t.map((t) => t + trend.bucketS / 2);
  const highest = Math.max(0, ...trend.p90, ...trend.subscribedMbps, ...detail.median);
  const top = 1.1 * (highest || 100);
  const lane = top * 0.07;
  const tip = document.createElement("div");
  tip.className = "chart-tip";
  tip.hidden = true;
  const read = document.querySelector("#chart-read");
  let colours = palette();
  let labels = new Map();

  function labelled(found) {
    labels = new Map(found.map(({ t, day }) => [t, day ? format.day(t) : format.hour(t)]));
    // Tests and the curious: what is written where.
    place.dataset.labels = JSON.stringify([...labels]);
    return [...labels.keys()];
  }

  const options = {
    width: place.clientWidth,
    height: chartHeight(),
    padding: [10, 22, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: true } },
    scales: {
      x: { time: true, range: (_, min, max) => (min <= centres[0] && max >= centres.at(-1) ? [since, until] : [min, max]) },
      y: { range: [-lane, top] },
    },
    axes: [
      {
        stroke: () => colours.quiet, grid: { stroke: () => colours.grid }, ticks: { show: false }, size: 34, space: 70,
        font: "12px system-ui, sans-serif",
        splits: (_, __, min, max, step) => labelled(ticks(format, min, max, step)),
        values: (_, splits) => splits.map((t) => labels.get(t)),
      },
      {
        stroke: () => colours.quiet, grid: { stroke: () => colours.grid }, ticks: { show: false }, size: 50,
        font: "12px system-ui, sans-serif",
        splits: (_, __, ___, max, step) => Array.from({ length: Math.floor(max / step) + 1 }, (____, i) => i * step),
        values: (_, splits) => splits.map((v) => format.number(v)),
      },
    ],
    series: [{}, { paths: () => null, points: { show: false } }],
    tzDate: (t) => window.uPlot.tzDate(new Date(t * 1000), facts.zone),
    hooks: { drawClear: [backdrop], draw: [figures], setCursor: [point], setScale: [scaled] },
  };

  // Everything is drawn in canvas pixels inside the plot's own box.
  function inPlot(u, draw) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    draw(ctx, bbox, (t) => u.valToPos(t, "x", true), (v) => u.valToPos(v, "y", true), window.devicePixelRatio || 1);
    ctx.restore();
  }

  function backdrop(u) {
    inPlot(u, (ctx, box, x) => {
      ctx.fillStyle = colours.breach;
      for (const [from, to] of facts.breaches) {
        const left = x(Math.max(from, since));
        const right = x(Math.min(to ?? Date.now() / 1000, until));
        ctx.fillRect(left, box.top, Math.max(2, right - left), box.height);
      }
    });
  }

  function figures(u) {
    inPlot(u, (ctx, box, x, y, px) => {
      ctx.fillStyle = colours.band;
      trend.t.forEach((t, i) => {
        if (trend.p10[i] === null) return;
        const left = x(t);
        ctx.fillRect(left, y(trend.p90[i]), x(t + trend.bucketS) - left, y(trend.p10[i]) - y(trend.p90[i]));
      });
      stairs(ctx, x, y, trend.subscribedMbps, colours.quiet, 1.5 * px, [6 * px, 4 * px]);
      stairs(ctx, x, y, bounds, colours.bad, 1.5 * px, [3 * px, 3 * px]);
      stairs(ctx, x, y, trend.median, colours.median, 2.25 * px, []);
      dots(ctx, x, y, px);
      captions(ctx, box, y, px);
      marks(ctx, x, y, px);
    });
  }

  function stairs(ctx, x, y, values, colour, width, dash) {
    ctx.beginPath();
    let down = false;
    values.forEach((value, i) => {
      if (value === null) {
        down = false;
        return;
      }
      const left = x(trend.t[i]);
      ctx[down ? "lineTo" : "moveTo"](left, y(value));
      ctx.lineTo(x(trend.t[i] + trend.bucketS), y(value));
      down = true;
    });
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.setLineDash(dash);
    ctx.stroke();
    ctx.setLineDash([]);
  }

  function dots(ctx, x, y, px) {
    detail.t.forEach((t, i) => {
      if (!detail.n[i]) return;
      const low = detail.below[i] > detail.outages[i];
      const worst = facts.milliseconds ? detail.max[i] : detail.min[i];
      const value = low ? worst : detail.median[i];
      if (!low && detail.bucketS >= trend.bucketS) return;
      ctx.beginPath();
      ctx.arc(x(t + detail.bucketS / 2), y(value), (low ? 3 : 1.6) * px, 0, 2 * Math.PI);
      ctx.fillStyle = low ? colours.bad : colours.dot;
      ctx.fill();
      if (low) {
        ctx.lineWidth = px;
        ctx.strokeStyle = colours.card;
        ctx.stroke();
      }
    });
  }

  function captions(ctx, box, y, px) {
    const last = trend.subscribedMbps.length - 1 - [...trend.subscribedMbps].reverse().findIndex((s) => s !== null);
    const subscribed = trend.subscribedMbps[last] ?? null;
    const bound = bounds[last] ?? bounds.at(-1);
    if (subscribed === null && bound === null) return;
    ctx.font = `${12 * px}px system-ui, sans-serif`;
    ctx.textBaseline = "bottom";
    ctx.textAlign = "left";
    const write = (text, value) => {
      const width = ctx.measureText(text).width;
      ctx.fillStyle = colours.card;
      ctx.globalAlpha = 0.8;
      ctx.fillRect(box.left + 4 * px, y(value) - 18 * px, width + 8 * px, 16 * px);
      ctx.globalAlpha = 1;
      ctx.fillStyle = colours.ink;
      ctx.fillText(text, box.left + 8 * px, y(value) - 3 * px);
    };
    if (subscribed !== null) write(fill(words["chart.subscribed"], { mbps: format.number(subscribed) }), subscribed);
    if (bound !== null) {
      const ratio = facts.belowRatio && subscribed ? format.percent(bound / subscribed) : format.number(bound);
      write(fill(words["chart.threshold"], { ratio }), bound);
    }
  }

  function marks(ctx, x, y, px) {
    const from = y(-lane * 0.15);
    const height = y(-lane * 0.85) - from;
    detail.t.forEach((t, i) => {
      const kind = detail.outages[i] ? "bad" : detail.inconclusive[i] ? "quiet" : null;
      if (!kind) return;
      const left = x(t);
      const width = Math.max(3 * px, x(t + detail.bucketS) - left);
      if (kind === "bad") {
        ctx.fillStyle = colours.bad;
        ctx.fillRect(left, from, width, height);
      } else {
        ctx.strokeStyle = colours.quiet;
        ctx.lineWidth = px;
        ctx.strokeRect(left + px / 2, from, width - px, height);
      }
    });
  }

  function describe(i) {
    // Days are 23 to 25 hours long: the middle of a bucket always lies in its day.
    const when = trend.bucketS < DAY_S ? format.moment(trend.t[i]) : format.date(trend.t[i] + 43200);
    const median = trend.median[i];
    if (median === null) return fill(words["chart.read_gap"], { when });
    const subscribed = trend.subscribedMbps[i];
    const key = facts.milliseconds ? "chart.read_ms" : subscribed ? "chart.read_ratio" : "chart.read";
    return fill(words[key], {
      when,
      median: format.mbps(median),
      ratio: subscribed ? format.percent(median / subscribed) : "",
      p10: format.mbps(trend.p10[i]),
      p90: format.mbps(trend.p90[i]),
      n: format.number(trend.n[i]),
    });
  }

  function point(u) {
    const { left } = u.cursor;
    if (left === null || left < 0) {
      tip.hidden = true;
      return;
    }
    const i = Math.min(trend.t.length - 1, Math.max(0, Math.floor((u.posToVal(left, "x") - trend.t[0]) / trend.bucketS)));
    tip.textContent = describe(i);
    tip.hidden = false;
    const at = left + u.bbox.left / (window.devicePixelRatio || 1);
    const right = at > place.clientWidth / 2;
    tip.style.left = right ? "" : `${at + 12}px`;
    tip.style.right = right ? `${place.clientWidth - at + 12}px` : "";
  }

  const reset = document.querySelector("#chart-reset");
  function whole(u) {
    u.setScale("x", { min: centres[0], max: centres.at(-1) });
  }
  function scaled(u, name) {
    if (name !== "x") return;
    const { min, max } = u.scales.x;
    reset.hidden = !(min > since || max < until);
  }

  place.replaceChildren();
  const plot = new window.uPlot(options, [centres, trend.median], place);
  place.append(tip);
  place.tabIndex = 0;
  place.setAttribute("role", "application");
  place.setAttribute("aria-label", words["chart.label"]);
  read.textContent = words["chart.hint"];
  // Tests and the curious: where the chart stands.
  place.dataset.ready = "yes";

  reset.onclick = () => whole(plot);
  const letGo = zoomByTouch(plot, whole);

  let index = trend.t.length;
  function key(event) {
    const jump = { ArrowLeft: -1, ArrowRight: 1, PageUp: -7, PageDown: 7, Home: -Infinity, End: Infinity }[event.key];
    if (jump === undefined) return;
    event.preventDefault();
    index = Math.min(trend.t.length - 1, Math.max(0, index + jump));
    plot.setCursor({ left: plot.valToPos(centres[index], "x"), top: 0 });
    read.textContent = describe(index);
  }
  const resized = new ResizeObserver(() => {
    if (place.clientWidth !== plot.width) plot.setSize({ width: place.clientWidth, height: chartHeight() });
  });
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  function repaint() {
    colours = palette();
    plot.redraw();
  }
  place.addEventListener("keydown", key);
  resized.observe(place);
  scheme.addEventListener("change", repaint);
  return {
    stop() {
      letGo();
      place.removeEventListener("keydown", key);
      resized.disconnect();
      scheme.removeEventListener("change", repaint);
      plot.destroy();
    },
  };
}

// One finger drawn sideways marks a span, two taps go back; drawn up or down it scrolls the page.
function zoomByTouch(u, whole) {
  const over = u.over;
  const ours = new AbortController();
  let from = null;
  let to = null;
  let tapped = 0;
  const at = (event) => Math.min(over.clientWidth, Math.max(0, event.touches[0].clientX - over.getBoundingClientRect().left));
  over.addEventListener("touchstart", (event) => {
    from = event.touches.length === 1 ? at(event) : null;
    to = from;
  }, { signal: ours.signal, passive: true });
  over.addEventListener("touchmove", (event) => {
    if (from === null) return;
    to = at(event);
    u.setSelect({ left: Math.min(from, to), width: Math.abs(to - from), top: 0, height: over.clientHeight }, false);
    u.setCursor({ left: to, top: 0 });
  }, { signal: ours.signal, passive: true });
  over.addEventListener("touchend", (event) => {
    if (from === null) return;
    const [left, right] = [Math.min(from, to), Math.max(from, to)];
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    from = null;
    if (right - left > 20) {
      u.setScale("x", { min: u.posToVal(left, "x"), max: u.posToVal(right, "x") });
    } else {
      if (event.timeStamp - tapped < 350) whole(u);
      tapped = event.timeStamp;
    }
  }, { signal: ours.signal, passive: true });
  over.addEventListener("touchcancel", () => (from = null), { signal: ours.signal });
  return () => ours.abort();
}

// Where labels stand: at the plan's midnights, and for less than a day at even times since each.
// uPlot's own would count on from the first in steps of 24 hours, and be off once clocks change.
function ticks(format, min, max, step) {
  const every = Math.max(1, Math.round(step / DAY_S));
  const found = [];
  const last = format.dayNumber(max);
  for (let day = every * Math.floor(format.dayNumber(min) / every); day <= last; day += every) {
    const start = format.midnight(day);
    found.push({ t: start, day: true });
    if (step >= DAY_S) continue;
    const next = format.midnight(day + 1);
    for (let t = start + step; next - t > 0.7 * step; t += step) found.push({ t, day: false });
  }
  return found.filter(({ t }) => t >= min && t <= max);
}

function chartHeight() {
  return window.innerWidth < 640 ? 300 : 360;
}

function palette() {
  const style = getComputedStyle(document.documentElement);
  const names = ["quiet", "grid", "ink", "card", "bad", "median", "band", "dot", "breach"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

function formats({ zone, words, twice }) {
  const clock = new Intl.DateTimeFormat("en", {
    timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
  // The catalogue's own names, so that chart, table and text agree.
  const read = (t) => {
    const part = Object.fromEntries(clock.formatToParts(new Date(t * 1000)).map(({ type, value }) => [type, value]));
    const weekday = (new Date(Date.UTC(part.year, part.month - 1, part.day)).getUTCDay() + 6) % 7;
    const day = `${Number(part.day)} ${words.months[part.month - 1]}`;
    const local = Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second) / 1000;
    // Where clocks are set back they show a time twice: the zone's abbreviation tells which.
    const again = twice.find(([from, until]) => from <= t && t < until);
    const hour = `${part.hour}:${part.minute}${again ? ` ${again[2]}` : ""}`;
    return { hour, day, date: `${words.weekdays[weekday]} ${day}`, local };
  };
  const dayNumber = (t) => Math.floor(read(t).local / DAY_S);
  // The first moment of a day; in some zones clocks change at midnight, so that it is 01:00.
  const midnight = (day) => {
    const wanted = day * DAY_S;
    const guesses = [-DAY_S, DAY_S].map((around) => wanted - (read(wanted + around).local - (wanted + around)));
    const inIt = guesses.filter((t) => dayNumber(t) === day && dayNumber(t - 1) < day);
    return inIt.length ? Math.min(...inIt) : Math.max(...guesses);
  };
  const number = (value, digits = 0) => {
    const [whole, part] = Math.abs(value).toFixed(digits).split(".");
    const grouped = whole.length < words.groupFrom ? whole : whole.replace(/\B(?=(\d{3})+$)/g, words.group);
    return (value < 0 ? "\u2212" : "") + grouped + (part ? words.decimal + part : "");
  };
  return {
    number,
    hour: (t) => read(t).hour,
    day: (t) => read(t).day,
    date: (t) => read(t).date,
    moment: (t) => `${read(t).date}, ${read(t).hour}`,
    mbps: (value) => number(value, value >= 100 ? 0 : value >= 10 ? 1 : 2),
    percent: (ratio) => `${number(ratio * 100)}\u202f%`,
    dayNumber,
    midnight,
  };
}
