// The list of sections: it marks the one in view, and on a phone opens below a bar that names it.

const BELOW_TOP_PX = 24; // a section is in view when its heading is above this line, or where a link to it leads

export function followSections() {
  const list = document.getElementById("contents");
  const button = document.getElementById("contents-button");
  const links = new Map(
    [...list.querySelectorAll("a")].map((link) => [document.getElementById(link.hash.slice(1)), link]),
  );
  const places = [...links.keys()].sort((a, b) => (a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1));
  let marked = null;
  let isPlanned = false;

  function mark() {
    isPlanned = false;
    const isAtEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 1;
    const line = parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop) + BELOW_TOP_PX;
    const read = places.filter((place) => place.getBoundingClientRect().top <= line);
    // the last sections may be too short to reach the line
    const place = isAtEnd && scrollY > 0 ? lastChosen(places, read) : read.at(-1);
    if (place === marked) return;
    links.get(marked)?.removeAttribute("aria-current");
    links.get(place)?.setAttribute("aria-current", "true");
    marked = place;
    const name = links.get(place)?.textContent;
    document.getElementById("in-view").textContent = name ? `: ${name}` : "";
    keepInView(list, links.get(place));
    keepPlaceOfLanguage(place);
  }

  function plan() {
    if (!isPlanned) requestAnimationFrame(mark);
    isPlanned = true;
  }

  const setOpen = (isOpen) => button.setAttribute("aria-expanded", String(isOpen));
  button.hidden = false;
  button.addEventListener("click", () => setOpen(button.getAttribute("aria-expanded") !== "true"));
  list.addEventListener("click", (event) => event.target.closest("a") && setOpen(false));
  list.parentElement.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || button.getAttribute("aria-expanded") !== "true") return;
    setOpen(false);
    button.focus();
  });
  for (const happening of ["scroll", "resize", "hashchange"]) addEventListener(happening, plan, { passive: true });
  mark();
}

/** At the end of the page, the section in the address counts, if it is on the screen; else the last one. */
function lastChosen(places, read) {
  const chosen = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  return places.includes(chosen) && !read.slice(0, -1).includes(chosen) ? chosen : places.at(-1);
}

/** Scrolls the list alone, not the page. */
function keepInView(list, link) {
  if (!link) return;
  const [top, bottom] = [link.offsetTop - list.offsetTop, link.offsetTop - list.offsetTop + link.offsetHeight];
  if (top < list.scrollTop) list.scrollTop = top;
  else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
}

/** The other language opens at the same section; from the top, where its link is, at the one in the address. */
function keepPlaceOfLanguage(place) {
  document.querySelector("[data-language]").hash = place?.id ?? location.hash.slice(1);
}
