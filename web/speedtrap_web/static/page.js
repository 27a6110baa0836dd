// Starts what the page has: everything here is an addition, the page is complete without it.
import { drawChart } from "./chart.js";
import { enableCopying } from "./copy.js";
import { watch } from "./live.js";
import { tellTime } from "./moments.js";

function start() {
  enableCopying();
  drawChart();
  tellTime();
  const zone = document.querySelector("#time_zone");
  if (zone && !zone.value) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "";
}

start();
setInterval(tellTime, 30_000);
watch(start);
