// The bearer token of a person, which the pages of the gateway send with their requests.
//
// The token is kept in sessionStorage. It ends with the tab, and no page of another origin can read
// it. In memory alone, each link of the page would lose it. In localStorage it would outlive the
// person at the machine, and a browser would send a cookie with requests of other pages too. The
// policy of the page allows only the gateway's own scripts, so no text of a service can read it.
"use strict";

const TOKEN = "lro-gateway.token";

function authorized() {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { authorization: `Bearer ${token}` } : {};
}

// Shows the field for a token, and why the last token was refused. `go` runs once there is a token.
function askForToken(reason, go) {
  const form = document.getElementById("signin");
  const field = document.getElementById("token");
  document.getElementById("reason").textContent = sessionStorage.getItem(TOKEN)
    ? `The gateway has refused your token: ${reason}`
    : "This gateway is open to people with a token. Paste your token here. Whoever runs the gateway can give you one.";
  sessionStorage.removeItem(TOKEN);
  showForget();
  form.hidden = false;
  field.focus();
  form.onsubmit = (event) => {
    event.preventDefault();
    sessionStorage.setItem(TOKEN, field.value.trim());
    field.value = "";
    form.hidden = true;
    showForget();
    go();
  };
}

function showForget() {
  document.getElementById("forget").hidden = !sessionStorage.getItem(TOKEN);
}

document.getElementById("forget").addEventListener("click", () => {
  sessionStorage.removeItem(TOKEN);
  location.reload();
});
showForget();
