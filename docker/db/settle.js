// Makes a started mongod usable: replica set, primary, graph's user. May run again at any time.
const { readFileSync } = require("fs");
const secret = (name) => readFileSync(`/run/secrets/${name}`, "utf8").trim();

const admin = connect("mongodb://127.0.0.1:27017/admin?directConnection=true");
admin.auth(secret("speedtest-db_root_username"), secret("speedtest-db_root_password"));

if (!admin.hello().setName) {
  const members = [{ _id: 0, host: process.env.SPEEDTRAP_DB_HOST }];
  admin.adminCommand({ replSetInitiate: { _id: process.env.SPEEDTRAP_DB_REPLICA_SET, members } });
}
for (let tries = 0; !admin.hello().isWritablePrimary; tries++) {
  if (tries === 50) throw new Error("this node takes no writes yet");
  sleep(100);
}

// The password file counts: a changed one is set at the next start.
const user = secret("speedtest-db_api_username");
const database = process.env.SPEEDTRAP_DB_NAME;
const roles = ["readWrite", "dbAdmin"].map((role) => ({ role, db: database }));
const access = { pwd: secret("speedtest-db_api_password"), roles };
if (admin.getUser(user)) admin.updateUser(user, access);
else admin.createUser({ user, ...access });
