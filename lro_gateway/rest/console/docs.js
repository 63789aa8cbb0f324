// Shows the OpenAPI document with Swagger UI, which sends the token of the person.
"use strict";

const root = document.getElementById("swagger-ui");

function describe() {
  root.hidden = false;
  const ui = SwaggerUIBundle({
    url: root.dataset.url,
    domNode: root,
    deepLinking: true,
    showExtensions: true,
    showCommonExtensions: true,
    // There is one server, this gateway, and nothing to choose.
    plugins: [() => ({ wrapComponents: { ServersContainer: () => () => null } })],
    // The token that a person enters at the button Authorize comes first.
    requestInterceptor: (request) => {
      request.headers = { ...authorized(), ...request.headers };
      return request;
    },
    responseInterceptor: async (answer) => {
      if (answer.status === 401 && answer.url.endsWith(root.dataset.url.slice(1))) {
        // Without a token there is nothing to show but that the document is not loaded.
        root.hidden = true;
        askForToken(JSON.parse(answer.text).error.message, describe);
      }
      return answer;
    },
    onComplete: () => {
      const token = authorized().authorization?.slice("Bearer ".length);
      if (token) ui.preauthorizeApiKey("bearer", token);
    },
  });
}

describe();
