main {
  nullProcess
}
