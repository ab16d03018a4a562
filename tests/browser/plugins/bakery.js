// A React app as a plugin brings it: it takes React and the UI's components from the page, and is told where it is.
const { createElement, useState } = globalThis.React;
const { Button } = globalThis.ChakraUI;

globalThis.AirflowPlugin = ({ dagId, runId, taskId, mapIndex }) => {
  const [loaves, setLoaves] = useState(0);
  const place = [dagId, runId, taskId, mapIndex].filter((part) => part !== undefined).join("/");
  return createElement(
    "div",
    { "data-testid": `bakery-${place}` },
    createElement(Button, { onClick: () => setLoaves(loaves + 1), size: "xs" }, "Bake"),
    ` loaves: ${loaves} `,
  );
};
