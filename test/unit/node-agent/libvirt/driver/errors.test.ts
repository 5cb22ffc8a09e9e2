import assert from "node:assert/strict";
import { errorCode } from "../../../../../node-agent/libvirt/constants.ts";
import { toHypervisorError } from "../../../../../node-agent/libvirt/driver/errors.ts";

describe("libvirt's errors", () => {
  it("become what the caller would do, and keep code and text", () => {
    const error = toHypervisorError({ code: errorCode.NO_DOMAIN, message: "Domain not found" }, true);
    assert.deepEqual([error.kind, error.code, error.message], ["no-domain", 42, "Domain not found"]);
    assert.equal(toHypervisorError({ code: errorCode.OPERATION_INVALID, message: "" }, true).kind, "invalid-state");
    assert.equal(toHypervisorError({ code: 100_000, message: "" }, true).kind, "failed");
  });

  it("are a lost connection whatever they say, when the connection is dead", () => {
    for (const fault of [undefined, { code: errorCode.INTERNAL_ERROR, message: "client socket is closed" }, { code: errorCode.NO_DOMAIN, message: "" }]) {
      assert.equal(toHypervisorError(fault, false).kind, "connection-lost");
    }
  });
});
