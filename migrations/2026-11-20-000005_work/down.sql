DROP TABLE notes, tasks;
