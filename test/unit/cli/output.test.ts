/** What reaches the terminal: columns, ages, formats, and nothing that a guest or a name could smuggle in. */
import assert from "node:assert/strict";
import { parse } from "yaml";
import { VirtualMachine } from "../../../gen/drover/v1/virtual_machine.ts";
import { age, word } from "../../../cli/kinds/kind.ts";
import { virtualMachines } from "../../../cli/kinds/virtual-machine.ts";
import { Output } from "../../../cli/output.ts";
import type { Format } from "../../../cli/output.ts";
import { ChangePrinter, jsonText, printObjects, yamlText } from "../../../cli/print.ts";
import { tableLines } from "../../../cli/table.ts";
import { visible, visibleConsole } from "../../../cli/visible.ts";

const HOSTILE = "\u001B[2Jx\u009B\u202Ey";
const now = new Date(Date.UTC(2026, 0, 2));

function recorded(format: Format): { out: Output; text: () => string } {
  let text = "";
  const sink = { write: (data: string | Uint8Array) => (text += data.toString()) };
  return { out: new Output(format, { out: sink, errors: sink }), text: () => text };
}

const machines = [VirtualMachine.create({ metadata: { name: "web", namespace: "default", uid: "1", creationTimestamp: new Date(now.getTime() - 90_000) }, status: { nodeName: "a", ready: true, printableStatus: 6 } })];

describe("tables", () => {
  it("pad to the widest cell and leave no space at the end", () => {
    assert.deepEqual(tableLines(["NAME", "AGE"], [["a-long-name", "5s"], ["b", ""]]), ["NAME          AGE", "a-long-name   5s", "b"]);
  });

  it("show ages in two units at most", () => {
    const ages = [5, 119, 120, 615, 3 * 3600 - 1, 3 * 3600, 9 * 3600, 3 * 86_400, 20 * 86_400].map((seconds) => age(new Date(now.getTime() - seconds * 1000), now));
    assert.deepEqual(ages, ["5s", "119s", "2m", "10m", "179m", "3h", "9h", "3d", "20d"]);
    assert.equal(age(undefined, now), "<unknown>");
  });

  it("name values of enums, and show unknown ones as numbers", () => {
    assert.deepEqual([word({ UNSPECIFIED: 0, NO_WAY: 1 }, 1), word({ NO_WAY: 1 }, 7), word({ UNSPECIFIED: 0 }, 0)], ["NoWay", "7", ""]);
  });
});

describe("output of objects", () => {
  it("comes in every format", async () => {
    const print = async (format: Format) => {
      const { out, text } = recorded(format);
      await printObjects(out, virtualMachines, machines, { now, allNamespaces: format === "table" });
      return text();
    };
    assert.equal(await print("table"), "NAMESPACE   NAME   STATUS    READY   NODE   AGE\ndefault     web    Running   True    a      90s\n");
    assert.match(await print("wide"), /UID\n.* 1\n$/s);
    assert.equal(await print("name"), "virtualmachine/web\n");
    const list = { apiVersion: "drover.dev/v1", kind: "List" };
    assert.partialDeepStrictEqual(JSON.parse(await print("json")) as object, { ...list, items: [{ status: { printableStatus: "Running" } }] });
    assert.partialDeepStrictEqual(parse(await print("yaml")) as object, { ...list, items: [{ metadata: { name: "web" } }] });
  });

  it("watches as lines: JSON lines, and rows under one header", async () => {
    const json = recorded("json");
    await new ChangePrinter(json.out, virtualMachines, false).print([{ type: "modified", object: machines[0]! }], now);
    assert.partialDeepStrictEqual(JSON.parse(json.text()) as object, { type: "MODIFIED", object: { kind: "VirtualMachine" } });
    assert.equal(json.text().trimEnd().includes("\n"), false);
    const table = recorded("table");
    const printer = new ChangePrinter(table.out, virtualMachines, false);
    await printer.print([{ type: "added", object: machines[0]! }], now);
    await printer.print([{ type: "deleted", object: machines[0]! }], now);
    assert.match(table.text(), /^NAME [^\n]*\nweb [^\n]*\nweb [^\n]*\(deleted\)\n$/);
  });
});

describe("text from outside", () => {
  it("never reaches the terminal with controls in it, in any format", async () => {
    const texts = [visible(HOSTILE), visibleConsole(HOSTILE), tableLines(["A"], [[HOSTILE]]).join(""), jsonText({ a: HOSTILE }, 0), await yamlText({ a: HOSTILE })];
    for (const text of texts) assert.deepEqual(text.split("").filter((character) => "\u001B\u009B\u202E".includes(character)), []);
    assert.equal(parse(await yamlText({ a: HOSTILE }))["a"], HOSTILE);
    assert.equal((JSON.parse(jsonText({ a: HOSTILE }, 0)) as { a: string }).a, HOSTILE);
  });
});
