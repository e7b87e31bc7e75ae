pub struct Command;
