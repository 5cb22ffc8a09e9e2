/** One fleet for all tests of a block: started before the first, removed after the last. */
import { Fleet } from "./fleet.ts";
import type { FleetOptions } from "./fleet.ts";

/** Called inside `describe`; what it answers gives the fleet to hooks and tests. A failed test shows each program's last words. */
export function withFleet(options: FleetOptions = {}): () => Fleet {
  let fleet: Fleet | undefined;
  before(async () => {
    fleet = await Fleet.start(options);
  });
  afterEach(function () {
    fleet?.reportFailure(this.currentTest);
  });
  after(() => fleet?.[Symbol.asyncDispose]());
  return () => {
    if (!fleet) throw new Error("The fleet is there from the first hook of its block on, and not before");
    return fleet;
  };
}
