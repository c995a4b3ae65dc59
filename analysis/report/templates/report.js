// Draws the panels and tells of a mark by pointer, finger or arrow keys. Without it, or if it fails,
// the drawn figure of the page is shown instead.
(function () {
  "use strict";
  var panels = JSON.parse(document.getElementById("front-data").textContent);
  var root = document.documentElement;
  var config = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false };

  function tell(at, point) {
    var said = document.getElementById("said-" + at);
    said.textContent = point[0];
    if (/^https?:/.test(point[1])) {
      var link = document.createElement("a");
      link.href = point[1];
      link.rel = "noreferrer";
      link.textContent = "its run in MLflow";
      said.append(" · ", link);
    }
  }

  function listen(box, panel, at) {
    var now = -1;
    box.on("plotly_hover", function (event) {
      tell(at, event.points[0].customdata);
    });
    box.addEventListener("keydown", function (event) {
      var step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (!step || !panel.order.length) return;
      event.preventDefault();
      now = (now + step + panel.order.length) % panel.order.length;
      var place = panel.order[now];
      Plotly.Fx.hover(box, [{ curveNumber: place[0], pointNumber: place[1] }]); // tells nobody
      tell(at, panel.traces[place[0]].customdata[place[1]]);
    });
    box.addEventListener("blur", function () {
      Plotly.Fx.unhover(box);
    });
  }

  root.classList.add("drawn"); // before drawing: a hidden box has no width
  Promise.all(
    panels.map(function (panel, at) {
      var box = document.getElementById("panel-" + at);
      return Plotly.newPlot(box, panel.traces, panel.layout, config).then(function () {
        listen(box, panel, at);
      });
    })
  ).then(
    function () {
      root.dataset.ready = "yes";
    },
    function () {
      root.classList.remove("drawn");
    }
  );
})();
