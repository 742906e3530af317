(function () {
  "use strict";
  const root = document.documentElement;
  root.classList.add("scripted");
  const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;

  // Panels: colours of the page, which Bokeh's canvas cannot take from its style.
  if (panelDocuments !== null && window.Bokeh !== undefined) {
    const style = getComputedStyle(root);
    let documents = panelDocuments;
    if (dark) {
      for (const [light, name] of [["#1c2733", "--ink"], ["#8a94a0", "--faint"], ["#1f4e79", "--curve"]]) {
        documents = documents.replaceAll(light, style.getPropertyValue(name).trim());
      }
    }
    root.classList.add("live-panels");
    Promise.resolve(window.Bokeh.embed.embed_items(documents, panelItems)).catch(function (error) {
      root.classList.remove("live-panels"); // the pictures below stay
      console.error(error);
    });
  }

  // Maps as counted and denoised: side by side, one of the two, or in turns.
  for (const box of document.querySelectorAll(".flicker")) {
    let timer = null;
    const show = function (which) {
      window.clearInterval(timer);
      for (const button of box.querySelectorAll("button")) {
        button.setAttribute("aria-pressed", String(button.dataset.show === which));
      }
      box.dataset.shown = which === "flicker" ? "raw" : which;
      if (which === "flicker") {
        timer = window.setInterval(function () {
          box.dataset.shown = box.dataset.shown === "raw" ? "denoised" : "raw";
        }, 700);
      }
    };
    for (const button of box.querySelectorAll("button")) {
      button.addEventListener("click", function () { show(button.dataset.show); });
    }
  }
})();
