// Draw each figure when it comes near the window; without Plotly, say so in its place.
const places = document.querySelectorAll(".figure");
function draw(place) {
  const data = document.querySelector(`[data-figure="${place.id}"]`);
  if (!window.Plotly) {
    place.textContent = "This figure needs plotly.min.js, which lies beside this page.";
    return;
  }
  const figure = JSON.parse(data.textContent);
  window.Plotly.newPlot(place, figure.data, figure.layout, {
    responsive: true, displaylogo: false, displayModeBar: "hover",
  });
}
const seen = new IntersectionObserver(
  (entries) => entries.filter((e) => e.isIntersecting).forEach((e) => {
    seen.unobserve(e.target);
    draw(e.target);
  }),
  { rootMargin: "1200px" },
);
places.forEach((place) => seen.observe(place));
