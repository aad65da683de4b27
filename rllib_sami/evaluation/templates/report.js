"use strict";
const root = document.documentElement;
const dark = window.matchMedia("(prefers-color-scheme: dark)");
let chosen = null;
try { chosen = localStorage.getItem("theme"); } catch { /* not kept for pages from a disk */ }
const show = () => { root.dataset.theme = chosen || (dark.matches ? "dark" : "light"); };
show();
dark.addEventListener("change", show);

document.addEventListener("DOMContentLoaded", () => {
  document.getElementById("theme").addEventListener("click", () => {
    chosen = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("theme", chosen); } catch { /* as above */ }
    show();
  });

  // The table of contents: open on wide screens, marks where the reader is.
  const contents = document.querySelector("nav details");
  const wide = window.matchMedia("(min-width: 1000px)");
  const unfold = () => { contents.open = wide.matches; };
  unfold();
  wide.addEventListener("change", unfold);
  contents.addEventListener("click", (event) => {
    if (event.target.matches("a") && !wide.matches) contents.open = false;
  });
  const links = new Map([...contents.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
  const reader = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((each) => each.isIntersecting)) {
      for (const link of links.values()) link.classList.toggle("here", link.hash.slice(1) === entry.target.id);
    }
  }, { rootMargin: "0px 0px -75% 0px" });
  for (const id of links.keys()) reader.observe(document.getElementById(id));

  // The gallery: every filter must fit, and so many are shown at once.
  const gallery = document.querySelector(".gallery");
  if (!gallery) return;
  const filters = [...document.querySelectorAll(".filters select")];
  const folded = document.getElementById("more-videos");
  const more = document.getElementById("show-more");
  if (folded) {
    gallery.append(...folded.querySelectorAll("figure"));
    folded.remove();
  }
  const videos = [...gallery.children];
  const step = more ? Number(more.dataset.step) : videos.length;
  let most = step;
  const filter = () => {
    let fitting = 0;
    for (const video of videos) {
      const fits = filters.every((select) => !select.value || video.dataset[select.name] === select.value);
      fitting += fits;
      video.hidden = !fits || fitting > most;
      if (video.hidden) video.querySelector("video").pause();
    }
    const shown = Math.min(fitting, most);
    document.getElementById("shown").textContent = `${shown} of ${videos.length} videos`;
    if (!more) return;
    more.hidden = shown === fitting;
    more.textContent = `Show ${Math.min(step, fitting - shown)} more`;
  };
  for (const select of filters) select.addEventListener("change", () => { most = step; filter(); });
  if (more) more.addEventListener("click", () => { most += step; filter(); });
  filter();
});
