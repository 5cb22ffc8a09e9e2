import assert from "node:assert/strict";
import * as fc from "fast-check";
import { InvalidArgument } from "../../../../lib/errors.ts";
import { parseFieldSelector } from "../../../../api-server/validate/field-selector.ts";
import { parseLabelSelector } from "../../../../api-server/validate/label-selector.ts";
import { machine, schema } from "../fixture.ts";

describe("label selectors", () => {
  const labels = { app: "web", zone: "a", "example.com/tier": "front" };
  const rows: [string, boolean][] = [
    ["", true], ["app=web", true], ["app==web", true], ["app=db", false], ["app!=db", true], ["none!=x", true], ["app", true],
    ["!app", false], ["!none", true], ["zone in (a, b)", true], ["zone in (b)", false], ["zone notin (b,c)", true], ["none notin (b)", true],
    ["none in (b)", false], ["app=web,zone in (a,b),!none", true], ["app=web,zone=b", false], ["example.com/tier=front", true],
    ["constructor", false],
  ];
  for (const [selector, expected] of rows) {
    it(`${JSON.stringify(selector)} is ${expected}`, () => assert.equal(parseLabelSelector(selector)(labels), expected));
  }

  for (const selector of ["a=b=c", "=b", "a in b", "a in (b", "-x=1", "a=b c", ",", "a,,b", "a>1"]) {
    it(`refuses ${JSON.stringify(selector)}`, () => assert.throws(() => parseLabelSelector(selector), InvalidArgument));
  }

  it("answers or refuses whatever is written", () => {
    fc.assert(fc.property(fc.string({ maxLength: 40 }), (selector) => {
      try {
        assert.equal(typeof parseLabelSelector(selector)(labels), "boolean");
      } catch (error) {
        assert.ok(error instanceof InvalidArgument);
      }
    }));
  });
});

describe("field selectors", () => {
  const root = schema.message("drover.v1.VirtualMachine");
  const vm = machine({ name: "web" });
  const rows: [string, boolean][] = [
    ["", true], ["metadata.name=web", true], ["metadata.name!=web", false], ["spec.run_strategy=RUN_STRATEGY_ALWAYS", true],
    ["spec.template.spec.domain.memory.guest=64Mi", true], ["status.ready=false", true], ["status.last_epoch=0", true],
    ["status.power.intent=POWER_INTENT_UNSPECIFIED", true], ["metadata.name=web,status.ready=true", false],
  ];
  for (const [selector, expected] of rows) {
    it(`${JSON.stringify(selector)} is ${expected}`, () => assert.equal(parseFieldSelector(selector, root)(vm), expected));
  }

  for (const selector of ["name", "metadata.nothing=1", "metadata.labels=x", "spec.run_strategy=Always", "status.ready=yes", "status.last_epoch=x", "a b=c"]) {
    it(`refuses ${JSON.stringify(selector)}`, () => assert.throws(() => parseFieldSelector(selector, root), InvalidArgument));
  }
});
