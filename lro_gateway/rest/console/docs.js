// Shows the OpenAPI document with Swagger UI, which sends the token of the person.
"use strict";

const root = document.getElementById("swagger-ui");

function describe() {
  const ui = SwaggerUIBundle({
    url: root.dataset.url,
    domNode: root,
    deepLinking: true,
    showExtensions: true,
    showCommonExtensions: true,
    // The token that a person enters at the button Authorize comes first.
    requestInterceptor: (request) => {
      request.headers = { ...authorized(), ...request.headers };
      return request;
    },
    responseInterceptor: async (answer) => {
      if (answer.status === 401 && answer.url.endsWith(root.dataset.url.slice(1)))
        askForToken(JSON.parse(answer.text).error.message, describe);
      return answer;
    },
    onComplete: () => {
      const token = authorized().authorization?.slice("Bearer ".length);
      if (token) ui.preauthorizeApiKey("bearer", token);
    },
  });
}

describe();
