/** The driver as a forked child of this process. */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import type { FromDriver, ToDriver } from "./protocol.ts";
import type { DriverProcess, DriverTransport } from "./transport.ts";

/** One for libvirt's event loop, one for each lane, two for each migration, some to spare. Read once, at the start. */
const THREADS = 32;

export type ChildTransportOptions = {
  /** The driver's program, when it is not beside this file (in a bundle). */
  program?: URL;
  /** Replaces the environment, of which libvirt needs none of its own. */
  environment?: Record<string, string>;
};

export function childTransport({ program, environment = {} }: ChildTransportOptions = {}): DriverTransport {
  const path = program ?? new URL("./driver/main.ts", import.meta.url);
  return {
    spawn(listener) {
      const child = fork(path, [], {
        serialization: "advanced",
        execArgv: [],
        env: { ...environment, UV_THREADPOOL_SIZE: String(THREADS) },
        stdio: ["ignore", "ignore", "inherit", "ipc"],
      });
      let gone = false;
      const exited = (reason: string) => {
        if (!gone) listener.exited(reason);
        gone = true;
      };
      child.on("message", (message) => {
        if (!gone) listener.message(message as FromDriver);
      });
      child.once("error", (error) => exited(error.message));
      child.once("exit", (code, signal) => exited(signal ? `killed by ${signal}` : `exit code ${code}`));
      return processOf(child);
    },
  };
}

function processOf(child: ChildProcess): DriverProcess {
  return {
    send(message: ToDriver) {
      // A closed channel is no error here: the exit that closed it is reported by itself.
      if (child.connected) child.send(message, () => undefined);
    },
    kill: () => void child.kill("SIGKILL"),
  };
}
