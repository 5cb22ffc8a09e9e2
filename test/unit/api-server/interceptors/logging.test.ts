import assert from "node:assert/strict";
import { ServerError, Status } from "nice-grpc-common";
import { logging } from "../../../../api-server/interceptors/logging.ts";
import { systemClock } from "../../../../lib/clock.ts";
import type { Logger } from "../../../../lib/log.ts";

type Middleware = ReturnType<typeof logging>;

describe("the line of a call", () => {
  const cases: [path: string, options: object, fails: boolean, level: string][] = [
    ["/drover.v1.VirtualMachineService/StartVirtualMachine", {}, false, "info"],
    ["/drover.v1.VirtualMachineService/UpdateVirtualMachine", {}, false, "info"],
    ["/drover.agent.v1.NodeAgentService/Claim", {}, false, "info"],
    ["/drover.v1.VirtualMachineService/ListVirtualMachines", { idempotencyLevel: "NO_SIDE_EFFECTS" }, false, "debug"],
    ["/drover.v1.VirtualMachineService/UpdateVirtualMachineStatus", {}, false, "debug"],
    ["/drover.agent.v1.NodeAgentService/Renew", {}, false, "debug"],
    ["/drover.agent.v1.NodeAgentService/Renew", {}, true, "info"],
    ["/drover.v1.VirtualMachineService/ListVirtualMachines", { idempotencyLevel: "NO_SIDE_EFFECTS" }, true, "info"],
  ];
  for (const [path, options, fails, level] of cases) {
    it(`is for ${level}: ${path}${fails ? ", refused" : ""}`, async () => {
      const written: [string, { code: string }][] = [];
      const at = (name: string) => (line: { code: string }) => void written.push([name, line]);
      const middleware = logging({ info: at("info"), debug: at("debug") } as unknown as Logger, systemClock);
      const next = async function* () {
        if (fails) throw new ServerError(Status.ABORTED, "no");
        yield "answer";
      };
      const call = { method: { path, options }, request: {}, next } as unknown as Parameters<Middleware>[0];
      const run = async () => {
        for await (const _ of middleware(call, { peer: "a" } as unknown as Parameters<Middleware>[1]));
      };
      if (fails) await assert.rejects(run, ServerError);
      else await run();
      assert.deepEqual(written.map(([name, { code }]) => [name, code]), [[level, fails ? "ABORTED" : "OK"]]);
    });
  }
});
