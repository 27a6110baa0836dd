// GraphiQL in front of this service's own /explorer/graphql, which knows the key of the session.

const place = document.getElementById("explorer");

// Descriptions of the schema become markup: a few tags without attributes pass, all else is text.
const OTHER_TAG = /<(?!\/?(?:p|em|strong|code|pre|ul|ol|li|blockquote|br)>)/g;
globalThis.trustedTypes?.createPolicy("default", {
  createHTML: (html) => html.replace(OTHER_TAG, "&lt;"),
});

// Under this name the library that holds the page still behind a dialog looks for it.
globalThis.__webpack_nonce__ = place.dataset.styleNonce;

async function ask(question) {
  const response = await fetch("/explorer/graphql", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify(question),
  });
  return response.json();
}

const FIRST = `# Ctrl-Space completes, Ctrl-Enter asks. You ask with your own key: mutations change things.

{
  me { name role }
  probes { name runCount lastSeenAt }
}
`;

ReactDOM.createRoot(place).render(
  React.createElement(GraphiQL, {
    fetcher: ask,
    defaultQuery: FIRST,
    isHeadersEditorEnabled: false,
    showPersistHeadersSettings: false,
  }),
);
