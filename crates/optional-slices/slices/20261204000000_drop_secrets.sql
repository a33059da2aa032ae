-- contract: the code that used the tables was removed a release before, or there is none.
DROP TABLE secret_versions;
DROP TABLE secrets;
