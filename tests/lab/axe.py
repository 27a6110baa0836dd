"""axe-core in a page: what somebody who sees, points or reads otherwise would stumble over.

Looking at everything takes a second, most of it for contrast. So everything is looked at once;
after the page has got another width or other colours, only what can have changed by that, and the
contrast of one element of each pair of colours.
"""

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

_LOOK = """
const STYLES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const BY_WIDTH = ["target-size", "scrollable-region-focusable"];
// Rows of figures are each like the ones before; looking at all of them takes minutes.
const ALIKE = { exclude: [[".figures tbody tr:nth-child(n+8)"]] };
// `preload` asks for the style sheets again, for a rule that is not among these.
const USUAL = { resultTypes: ["violations"], iframes: false, preload: false };

async function violations(context, options) {
  const found = await axe.run(context, { ...USUAL, ...options });
  return found.violations.flatMap((problem) =>
    problem.nodes.map((node) => `${problem.id}: ${node.target} ${node.failureSummary}`));
}

function structure(contrast) {
  const rules = { "target-size": { enabled: true }, "color-contrast": { enabled: contrast } };
  return violations(ALIKE, { runOnly: { type: "tag", values: STYLES }, rules });
}

function byRules(context, ...names) {
  return violations(context, { runOnly: { type: "rule", values: names } });
}

function hasWords(element) {
  return element.matches("input, textarea, select")
    || [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
}

// What decides on contrast: the letters, and all that shines through behind them.
function colours(element) {
  const style = getComputedStyle(element);
  const seen = [style.color, style.fontSize, style.fontWeight];
  for (let behind = element; behind; behind = behind.parentElement) {
    const { backgroundColor, backgroundImage, opacity } = getComputedStyle(behind);
    seen.push(backgroundColor, backgroundImage, opacity);
    if (backgroundColor.startsWith("rgb(")) break;
  }
  return seen.join();
}

async function contrast() {
  const pairs = new Map();
  for (const element of document.querySelectorAll("body *")) {
    element.removeAttribute("data-colours");
    if (element.checkVisibility() && hasWords(element)) pairs.set(colours(element), element);
  }
  for (const element of pairs.values()) element.dataset.colours = "";
  return byRules({ include: [["[data-colours]"]] }, "color-contrast");
}

window.look = {
  whole: () => structure(true),
  structure: () => structure(false),
  width: async () => [...(await byRules(ALIKE, ...BY_WIDTH)), ...(await contrast())],
  phone: async () => [...(await structure(false)), ...(await contrast())],
  colours: contrast,
};
"""


class Axe:
    """Looks at *page* as it stands; each answer is what axe-core objects to, a line each."""

    def __init__(self, page: Page) -> None:
        self._page = page
        page.evaluate(f"{AXE_SCRIPT}; {{ {_LOOK} }}")

    def whole(self) -> list[str]:
        """Every rule."""
        return self._look("whole")

    def structure(self) -> list[str]:
        """Every rule but contrast."""
        return self._look("structure")

    def at_another_width(self) -> list[str]:
        """What depends on where things stand."""
        return self._look("width")

    def in_another_layout(self) -> list[str]:
        """Where other elements are shown: every rule, and each pair of colours."""
        return self._look("phone")

    def in_other_colours(self) -> list[str]:
        """Each pair of colours."""
        return self._look("colours")

    def _look(self, name: str) -> list[str]:
        found: list[str] = self._page.evaluate(f"look.{name}()")
        return found
