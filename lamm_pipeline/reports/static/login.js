import { byId, post } from "./http.js";

byId("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await post("/login", { token: byId("token").value });
  } catch (error) {
    byId("message").textContent = error.message;
    byId("token").select();
    return;
  }
  const next = new URL(new URLSearchParams(location.search).get("next") || "/", location.origin);
  location.replace(next.origin === location.origin ? next.pathname + next.search + (next.hash || location.hash) : "/");
});
