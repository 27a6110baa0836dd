// Makes a started mongod usable: replica set, primary, graph's user. May run again at any time.
const { readFileSync } = require("fs");
const secret = (name) => readFileSync(`/run/secrets/${name}`, "utf8").trim();

const admin = connect("mongodb://127.0.0.1:27017/admin?directConnection=true");
admin.auth(secret("speedtest-db_root_username"), secret("speedtest-db_root_password"));

const wanted = process.env.SPEEDTRAP_DB_MEMBERS.split(",");
if (!admin.hello().setName) {
  const members = [{ _id: 0, host: wanted[0] }];
  admin.adminCommand({ replSetInitiate: { _id: process.env.SPEEDTRAP_DB_REPLICA_SET, members } });
}
for (let tries = 0; ; tries++) {
  const seen = admin.hello();
  if (seen.isWritablePrimary) break;
  // Another node has the lead: it does what follows, or has done it.
  if (seen.secondary && seen.primary && seen.primary !== seen.me) quit(0);
  if (tries === 50) throw new Error("this node takes no writes yet");
  sleep(100);
}

// One at a time: a majority must agree to each.
for (const host of wanted) {
  const { config } = admin.adminCommand({ replSetGetConfig: 1 });
  if (config.members.some((member) => member.host === host)) continue;
  const _id = Math.max(...config.members.map((member) => member._id)) + 1;
  config.members.push({ _id, host });
  config.version += 1;
  const done = admin.adminCommand({ replSetReconfig: config });
  if (!done.ok) throw new Error(`${host} cannot be taken in yet: ${done.errmsg}`);
}

// The password file counts: a changed one is set at the next start.
const user = secret("speedtest-db_api_username");
const database = process.env.SPEEDTRAP_DB_NAME;
const roles = ["readWrite", "dbAdmin"].map((role) => ({ role, db: database }));
const access = { pwd: secret("speedtest-db_api_password"), roles };
if (admin.getUser(user)) admin.updateUser(user, access);
else admin.createUser({ user, ...access });
